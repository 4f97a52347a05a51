"""Split Python source into what is checked: names, docstrings, comments and strings."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator

from devtools.language.passage import Kind, Passage

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def python_passages(path: str, source: str, first_line: int = 1) -> Iterator[Passage]:
    """Return the passages of Python source that begins at `first_line` of the file.

    Source that does not parse, as an excerpt in a page, is one text.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        yield Passage(Kind.TEXT, path, first_line, source)
        return
    offset = first_line - 1
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and (docstring := _docstring(node)) is not None:
            docstrings.add(id(docstring))
            yield Passage(Kind.TEXT, path, docstring.lineno + offset, str(docstring.value))
    inside: set[int] = set()  # parts of f-strings, which are read with the f-string
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            yield from _string(path, node.lineno + offset, _template(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings and id(node) not in inside:
                yield from _string(path, node.lineno + offset, node.value)
        else:
            for name, line in _defined_names(node):
                yield Passage(Kind.NAME, path, line + offset, name, defined=True)
    yield from _comments(path, source, offset)


def test_passages(path: str, source: str) -> Iterator[Passage]:
    """Return the docstrings of a file of tests, and the name of each test as a sentence."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and (docstring := _docstring(node)) is not None:
            yield Passage(Kind.TEXT, path, docstring.lineno, str(docstring.value))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield Passage(Kind.TEXT, path, node.lineno, node.name.replace("_", " "))


def classes(source: str) -> Iterator[tuple[str, int]]:
    """Return the name and line of each class at the top of a module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, node.lineno


def _docstring(node: ast.AST) -> ast.Constant | None:
    match getattr(node, "body", None):
        case [ast.Expr(value=ast.Constant(value=str()) as docstring), *_]:
            return docstring
    return None


def _template(node: ast.JoinedStr) -> str:
    """Return the text of an f-string with … for what it inserts."""
    parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return "".join(map(str, parts))


def _string(path: str, line: int, text: str) -> Iterator[Passage]:
    """A string with white space is a message; any other is a key, a state or a name."""
    if len(text.split()) > 1:
        yield Passage(Kind.TEXT, path, line, text)
    elif text:
        yield Passage(Kind.NAME, path, line, text)


def _defined_names(node: ast.AST) -> Iterator[tuple[str, int]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node.lineno
        case ast.arg():
            yield node.arg, node.lineno
        case ast.Name(ctx=ast.Store()):
            yield node.id, node.lineno
        case ast.Attribute(ctx=ast.Store()):
            yield node.attr, node.lineno
        case ast.alias(asname=str(name)):
            yield name, node.lineno
        case ast.ExceptHandler(name=str(name)):
            yield name, node.lineno
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, node.lineno


def _comments(path: str, source: str, offset: int) -> Iterator[Passage]:
    """Return comments; those on lines that follow each other are one passage."""
    block: list[str] = []
    start = last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, text = token.start[0], token.string.lstrip("#! ")
        if block and line == last + 1:
            block.append(text)
        else:
            if block:
                yield Passage(Kind.TEXT, path, start + offset, "\n".join(block))
            block, start = [text], line
        last = line
    if block:
        yield Passage(Kind.TEXT, path, start + offset, "\n".join(block))
