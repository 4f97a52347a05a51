"""Read `rules.toml` and match its rules."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path

from devtools.language.passage import Kind, Passage

RULES = Path(__file__).with_name("rules.toml")
# One line break at most, with what a quotation puts in front of the next line.
GAP = r"(?:[ \t]+|[ \t]*\n[ \t>]*)"
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    words: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.words} → {self.instead}"


class RuleTable:
    """Regular expressions, each with the words to use instead."""

    def __init__(
        self, *tables: Mapping[str, str], whole_name: bool = False, raw: bool = False
    ) -> None:
        self._rules = [
            (_pattern(key, whole_name=whole_name, raw=raw), instead)
            for table in tables
            for key, instead in table.items()
        ]

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return re.compile("|".join(f"(?:{p.pattern})" for p, _ in self._rules), re.IGNORECASE)

    def matches(self, text: str) -> Iterator[tuple[re.Match[str], str]]:
        """Return each match of each rule, and what to use instead."""
        if self._any.search(text) is None:
            return
        for pattern, instead in self._rules:
            for match in pattern.finditer(text):
                yield match, instead


def _pattern(key: str, *, whole_name: bool, raw: bool) -> re.Pattern[str]:
    if raw:
        return re.compile(key, re.IGNORECASE)
    if whole_name:
        return re.compile(rf"\A(?:{key})\Z", re.IGNORECASE)
    # `_` separates words, as `take_deliveries` in a docstring
    return re.compile(rf"(?<![A-Za-z])(?:{key.replace(' ', GAP)})(?![A-Za-z])", re.IGNORECASE)


@cache
def split_name(name: str) -> str:
    """Return the words of a name in lower case, separated by spaces."""
    return " ".join(WORDS.findall(name)).lower()


@dataclass
class Allowed:
    """A reasoned exception."""

    text: str
    reason: str
    path: str = "*"
    used: bool = field(default=False, compare=False)

    def covers(self, path: str, line: str) -> bool:
        return fnmatch(path, self.path) and self.text.lower() in line.lower()


class Rules:
    """All of `rules.toml`. `findings` marks the exceptions that it used."""

    def __init__(self, path: Path = RULES) -> None:
        with path.open("rb") as file:
            content = tomllib.load(file)
        self.paths: Sequence[str] = content["paths"]
        self.unique_classes: Sequence[str] = content["unique_classes"]
        self.repeatable_classes: Sequence[str] = content["repeatable_classes"]
        self.subjects_since: str = content["subjects_since"]
        self.exceptions = [Allowed(**exception) for exception in content.get("exception", ())]
        self._text = RuleTable(content["everywhere"], content["text"])
        self._names = RuleTable(content["everywhere"], content["names"])
        self._whole_names = RuleTable(content["whole_names"], whole_name=True)
        self._subjects = RuleTable(content["subjects"], raw=True)

    def findings(self, passage: Passage) -> Iterator[Finding]:
        """Return what the rules match in a passage, without the exceptions."""
        seen = set()
        for words, offset, instead in self._matches(passage):
            line = passage.line + passage.text.count("\n", 0, offset)
            finding = Finding(passage.path, line, words, instead)
            if finding not in seen and not self._is_allowed(passage, offset):
                seen.add(finding)
                yield finding

    def _matches(self, passage: Passage) -> Iterator[tuple[str, int, str]]:
        """Return the words, their offset in the passage, and what to use instead."""
        if passage.kind is Kind.NAME:
            yield from self._name_matches(passage)
            return
        if passage.kind is Kind.SUBJECT:
            for match, instead in self._subjects.matches(passage.text):
                yield passage.text, match.start(), instead
        for match, instead in self._text.matches(passage.text):
            yield re.sub(r"[\s>]+", " ", match[0]), match.start(), instead

    def _name_matches(self, passage: Passage) -> Iterator[tuple[str, int, str]]:
        words = split_name(passage.text)
        for match, instead in self._names.matches(words):
            yield _name_with(passage.text, match[0]), 0, instead
            return
        if passage.defined:
            for _match, instead in self._whole_names.matches(words):
                yield passage.text, 0, instead
                return

    def _is_allowed(self, passage: Passage, offset: int) -> bool:
        start = passage.text.rfind("\n", 0, offset) + 1
        end = passage.text.find("\n", offset)
        line = passage.text[start : end if end >= 0 else None]
        allowed = [exc for exc in self.exceptions if exc.covers(passage.path, line)]
        for exception in allowed:
            exception.used = True
        return bool(allowed)


def _name_with(name: str, words: str) -> str:
    return name if name.lower() == words else f"{name} ({words})"
