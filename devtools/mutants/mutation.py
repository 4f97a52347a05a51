"""The faults that can be put into a module: pure, from its source to changed sources."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
# No caller relies on what is only reported.
LOGGERS = frozenset({"log", "logger", "warnings"})


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault: `before` at a line becomes `after`. `source` is the whole module with it.

    A test that executes none of `lines` cannot notice the fault, unless they run on import.
    """

    path: str
    line: int
    lines: range
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {_short(self.before)}  →  {_short(self.after)}"


def mutations_of(path: str, source: str) -> list[Mutation]:
    """Return every fault that is known for the module, in the order of its lines."""
    raw = source.encode()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    tree = ast.parse(source)
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]

    def mutation(node: ast.expr | ast.stmt, after: str) -> Mutation:
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        changed = raw[:begin] + after.encode() + raw[end:]
        lines = _lines_around(node, statements)
        return Mutation(path, node.lineno, lines, raw[begin:end].decode(), after, changed.decode())

    mutations = [mutation(node, after) for node, after in _changes(tree)]
    return sorted(mutations, key=lambda mutation: (mutation.line, mutation.before, mutation.after))


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    for node in _executed(tree):
        match node:
            case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
                other = copy.deepcopy(node)
                other.ops = [COMPARISONS[type(operator)]()]
                yield node, f"({ast.unparse(other)})"
            case ast.BoolOp():
                swapped = copy.deepcopy(node)
                swapped.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
                yield node, f"({ast.unparse(swapped)})"
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                yield test, f"(not ({ast.unparse(test)}))"
            case ast.Constant(value=bool() as value):
                yield node, str(not value)
            case ast.Constant(value=int() as value):
                yield node, str(value + 1)
            case ast.Expr(value=ast.Call() as call) if not _only_reports(call):
                yield node, "pass"
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield node, "return None"
            case _:
                pass


def _executed(tree: ast.Module) -> Iterator[ast.AST]:
    """Return every node except annotations, decorators, messages and the arguments of `raise`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            if isinstance(node, (ast.Raise, ast.JoinedStr)):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            values = value if isinstance(value, list) else [value]
            waiting += [child for child in values if isinstance(child, ast.AST)]


def _lines_around(node: ast.expr | ast.stmt, statements: list[ast.stmt]) -> range:
    """Return the lines of the innermost statement around the node, without the statement's body.

    Python reports the lines of a long expression in its own order, and not all of them.
    """
    last = node.end_lineno or node.lineno
    around = [it for it in statements if it.lineno <= node.lineno <= last <= (it.end_lineno or 0)]
    innermost = max(around, key=lambda it: (it.lineno, -(it.end_lineno or 0)))
    body = getattr(innermost, "body", None)
    if isinstance(innermost, ast.Match):
        body = innermost.cases[0].body
    if not body:
        return range(innermost.lineno, (innermost.end_lineno or last) + 1)
    header_end = max(innermost.lineno, body[0].lineno - 1)
    in_header = node.lineno <= header_end
    return range(innermost.lineno, header_end + 1) if in_header else range(node.lineno, last + 1)


def _only_reports(call: ast.Call) -> bool:
    function = ast.unparse(call.func)
    return function.partition(".")[0] in LOGGERS or function.startswith("super(")


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
