"""A parser of Lua 5.1, as far as the scripts need it, for test_script_keys.py.

Trees are tuples: a word for what it is, the line, and the parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Tree = tuple[Any, ...]

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--\[\[.*?\]\]|--[^\n]*)
    |(?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\[\[.*?\]\])
    |(?P<number>0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<sign>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = """and break do else elseif end false for function if in local nil not or repeat return
then true until while"""
_KEYWORDS = frozenset(_WORDS.split())
_SIGNS = "+ - * / % ^ .. == ~= < > <= >= and or"
_BINARY = frozenset(_SIGNS.split())
_ENDS = frozenset({"end", "else", "elseif", "until", ""})


def parse(source: str) -> list[Tree]:
    """Return the statements. Raises SyntaxError, with the line."""
    parser = _Parser(source)
    found = parser.block()
    parser.expect("")
    return found


def walk(tree: Any) -> Iterator[Tree]:
    """Each tree within, itself first."""
    if isinstance(tree, tuple) and tree and isinstance(tree[0], str):
        yield tree
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from walk(part)


def _tokens(source: str) -> Iterator[tuple[str, str, int]]:
    at, line = 0, 1
    while at < len(source):
        found = _TOKEN.match(source, at)
        if not found:
            raise SyntaxError(f"line {line}: {source[at : at + 20]!r} is no token")
        kind, text = str(found.lastgroup), found.group()
        if kind == "name" and text in _KEYWORDS:
            kind = "sign"
        if kind != "skip":
            yield kind, text, line
        line += text.count("\n")
        at = found.end()


class _Parser:
    def __init__(self, source: str) -> None:
        if source.startswith("#!"):
            source = "--" + source[2:]
        self.tokens = [*_tokens(source), ("sign", "", source.count("\n") + 1)]
        self.at = 0

    @property
    def text(self) -> str:
        kind, text, _ = self.tokens[self.at]
        return text if kind != "string" else "a string"

    @property
    def line(self) -> int:
        return self.tokens[self.at][2]

    def next(self) -> str:
        text = self.tokens[self.at][1]
        self.at += 1
        return text

    def accept(self, text: str) -> bool:
        if self.text == text and (text or self.at == len(self.tokens) - 1):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise SyntaxError(f"line {self.line}: {text!r} was expected at {self.text!r}")

    def name(self) -> str:
        if self.tokens[self.at][0] != "name":
            raise SyntaxError(f"line {self.line}: a name was expected at {self.text!r}")
        return self.next()

    def names(self) -> list[str]:
        found = [self.name()]
        while self.accept(","):
            found.append(self.name())
        return found

    def block(self) -> list[Tree]:
        found = []
        while self.text not in _ENDS:
            found.append(self.statement())
            self.accept(";")
        return found

    def statement(self) -> Tree:
        line = self.line
        if self.accept("local"):
            if self.accept("function"):
                name = self.name()
                return "local", line, [name], [self.function(line)]
            names = self.names()
            return "local", line, names, self.expressions() if self.accept("=") else []
        if self.accept("if"):
            return self.branches(line)
        if self.accept("for"):
            return self.loop(line)
        if self.accept("while"):
            condition = self.expression()
            self.expect("do")
            body = self.block()
            self.expect("end")
            return "while", line, condition, body
        if self.accept("repeat"):
            body = self.block()
            self.expect("until")
            return "while", line, self.expression(), body
        if self.accept("do"):
            body = self.block()
            self.expect("end")
            return "do", line, body
        if self.accept("return"):
            return "return", line, [] if self.text in _ENDS else self.expressions()
        if self.accept("break"):
            return "break", line
        if self.accept("function"):
            target: Tree = ("name", line, self.name())
            return "assign", line, [target], [self.function(line)]
        return self.assignment(line)

    def assignment(self, line: int) -> Tree:
        targets = [self.suffixed()]
        while self.accept(","):
            targets.append(self.suffixed())
        if self.accept("="):
            return "assign", line, targets, self.expressions()
        if targets[0][0] not in ("call", "method"):
            raise SyntaxError(f"line {line}: neither a call nor an assignment")
        return "do", line, targets

    def branches(self, line: int) -> Tree:
        found = []
        while True:
            condition = self.expression()
            self.expect("then")
            found.append((condition, self.block()))
            if self.accept("elseif"):
                continue
            if self.accept("else"):
                found.append((("constant", line, "true"), self.block()))
            self.expect("end")
            return "if", line, found

    def loop(self, line: int) -> Tree:
        names = self.names()
        kind = "for" if self.accept("=") else "for in"
        if kind == "for in":
            self.expect("in")
        values = self.expressions()
        self.expect("do")
        body = self.block()
        self.expect("end")
        return kind, line, names, values, body

    def function(self, line: int) -> Tree:
        self.expect("(")
        names = []
        while not self.accept(")"):
            names.append(self.next() if self.text == "..." else self.name())
            self.accept(",")
        body = self.block()
        self.expect("end")
        return "function", line, names, body

    def expressions(self) -> list[Tree]:
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
        return found

    def expression(self) -> Tree:
        """Without precedence: what matters is what an expression consists of."""
        line = self.line
        if self.text in ("not", "-", "#"):
            sign = self.next()
            found: Tree = ("unary", line, sign, self.expression())
        else:
            found = self.operand()
        if self.text in _BINARY:
            sign = self.next()
            found = ("binary", line, sign, found, self.expression())
        return found

    def operand(self) -> Tree:
        kind, text, line = self.tokens[self.at]
        if kind == "string":
            self.at += 1
            return "string", line, text[2:-2] if text.startswith("[[") else text[1:-1]
        if kind == "number" or text in ("nil", "true", "false", "..."):
            self.at += 1
            return "constant", line, text
        if text == "function":
            self.at += 1
            return self.function(line)
        if text == "{":
            return self.table(line)
        return self.suffixed()

    def table(self, line: int) -> Tree:
        self.expect("{")
        items, named = [], []
        while not self.accept("}"):
            if self.accept("["):
                named.append(self.expression())
                self.expect("]")
                self.expect("=")
                named.append(self.expression())
            elif self.tokens[self.at + 1][1] == "=" and self.tokens[self.at][0] == "name":
                self.next()
                self.expect("=")
                named.append(self.expression())
            else:
                items.append(self.expression())
            if not self.accept(","):
                self.accept(";")
        return "table", line, items, named

    def suffixed(self) -> Tree:
        line = self.line
        if self.accept("("):
            found: Tree = ("parentheses", line, self.expression())
            self.expect(")")
        else:
            found = ("name", line, self.name())
        while True:
            if self.accept("."):
                found = ("index", line, found, ("string", line, self.name()))
            elif self.accept("["):
                found = ("index", line, found, self.expression())
                self.expect("]")
            elif self.accept(":"):
                found = ("method", line, found, self.name(), self.arguments())
            elif self.text == "(" or self.text == "{" or self.tokens[self.at][0] == "string":
                found = ("call", line, found, self.arguments())
            else:
                return found

    def arguments(self) -> list[Tree]:
        if self.tokens[self.at][0] == "string" or self.text == "{":
            return [self.operand()]
        self.expect("(")
        if self.accept(")"):
            return []
        found = self.expressions()
        self.expect(")")
        return found
