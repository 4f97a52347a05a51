"""Find the files that the check reads, and split them into passages."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from devtools.language.passage import Kind, Passage
from devtools.language.python_source import python_passages, test_passages

FENCE = re.compile(
    r"^(?P<indent>[ >]*)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S
)
LUA_NAMES = re.compile(
    r"\blocal (?:function )?([\w, ]+)|\bfunction\b[^(\n]*\(([^)]*)\)|\bfor ([\w, ]+) in\b"
)
LUA_STRING = re.compile(r"'([^'\n]*)'")


def files(root: Path, paths: Sequence[str]) -> Iterator[Path]:
    """Return the files below `paths` that the check can read, in a stable order."""
    for name in paths:
        path = root / name
        if path.is_file():
            yield path
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix in READERS and "__pycache__" not in file.parts:
                    yield file
        else:
            raise FileNotFoundError(f"{name} does not exist; correct `paths` in rules.toml")


def passages(root: Path, file: Path) -> Iterator[Passage]:
    """Return all that is checked in a file, its own name included.

    Of tests only the facts are checked: their names and docstrings.
    """
    path = file.relative_to(root).as_posix()
    if path.startswith("tests/"):
        # Other files are of other projects.
        if file.suffix == ".py":
            yield from test_passages(path, file.read_text(encoding="utf-8"))
        return
    yield Passage(Kind.NAME, path, 1, file.stem)
    if file.parent != root:
        yield Passage(Kind.NAME, path, 1, file.parent.name)
    yield from READERS.get(file.suffix, _text)(path, file.read_text(encoding="utf-8"))


def _markdown(path: str, text: str) -> Iterator[Passage]:
    """Python in a page is read as Python; all else, other code included, as text."""
    kept, position = [], 0
    for fence in FENCE.finditer(text):
        if fence["language"] not in ("python", "py"):
            continue
        first_line = text.count("\n", 0, fence.start("body")) + 1
        yield from python_passages(path, textwrap.dedent(fence["body"]), first_line)
        kept += [text[position : fence.start()], "\n" * fence[0].count("\n")]
        position = fence.end()
    yield Passage(Kind.TEXT, path, 1, "".join([*kept, text[position:]]))


def _text(path: str, text: str) -> Iterator[Passage]:
    yield Passage(Kind.TEXT, path, 1, text)


def _comments(marker: str) -> Callable[[str, str], Iterator[Passage]]:
    """Return a reader of the comments alone, which begin with `marker`."""
    comment = re.compile(rf"(?:^|(?<=\s)){re.escape(marker)}")

    def read(path: str, text: str) -> Iterator[Passage]:
        lines = (comment.split(line, maxsplit=1) for line in text.splitlines())
        comments = [parts[1].strip() if len(parts) > 1 else "" for parts in lines]
        yield Passage(Kind.TEXT, path, 1, "\n".join(comments))

    return read


def _lua(path: str, text: str) -> Iterator[Passage]:
    yield from _comments("--")(path, text)
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("--")[0]
        for names in LUA_NAMES.finditer(code):
            for name in re.findall(r"\w+", " ".join(filter(None, names.groups()))):
                yield Passage(Kind.NAME, path, number, name, defined=True)
        for string in LUA_STRING.findall(code):
            yield Passage(Kind.NAME, path, number, string)


READERS: dict[str, Callable[[str, str], Iterator[Passage]]] = {
    ".py": python_passages,
    ".md": _markdown,
    ".lua": _lua,
    ".html": _text,
    ".js": _text,
    ".css": _text,
    ".json": _text,
    ".toml": _comments("#"),
    ".yml": _text,
}
