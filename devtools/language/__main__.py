"""`python -m devtools.language`: print the words that the project does not use."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from devtools.language.commits import subjects
from devtools.language.python_source import classes
from devtools.language.rules import Finding, Rules
from devtools.language.source import files, passages

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    rules = Rules()
    findings = sorted(
        set(check(options.root, rules, options.paths)), key=lambda f: (f.path, f.line, f.words)
    )
    if options.summary:
        _print_summary(findings)
    else:
        for finding in findings:
            print(finding)
    print(f"language: {len(findings)} found" if findings else "language: clean")
    return 1 if findings else 0


def check(root: Path, rules: Rules, paths: Sequence[str] = ()) -> Iterator[Finding]:
    """Return the findings below `paths`; without paths, in all that `rules.toml` names.

    Commit subjects, class names and unused exceptions are checked only without paths.
    """
    for file in files(root, paths or rules.paths):
        for passage in passages(root, file):
            yield from rules.findings(passage)
    if paths:
        return
    for passage in subjects(root, rules.subjects_since):
        yield from rules.findings(passage)
    yield from _repeated_classes(root, rules)
    for exception in rules.exceptions:
        if not exception.used:
            rule = f"exception {exception.text!r} for {exception.path}"
            yield Finding("devtools/language/rules.toml", 1, rule, "remove it, nothing needs it")


def _repeated_classes(root: Path, rules: Rules) -> Iterator[Finding]:
    definitions = defaultdict(list)
    for file in files(root, rules.unique_classes):
        if file.suffix == ".py":
            path = file.relative_to(root).as_posix()
            for name, line in classes(file.read_text(encoding="utf-8")):
                if name not in rules.repeatable_classes:
                    definitions[name].append((path, line))
    for name, uses in definitions.items():
        for path, line in uses[1:]:
            first = "{}:{}".format(*uses[0])
            yield Finding(path, line, f"class {name}", f"another name; {first} has this one")


def _print_summary(findings: Sequence[Finding]) -> None:
    counts = Counter(_folder(finding.path) for finding in findings)
    for folder, count in sorted(counts.items()):
        print(f"{count:6} {folder}")


def _folder(path: str) -> str:
    if path.startswith("commit "):
        return "commit subjects"
    parts = path.split("/")[:-1]
    return "/".join(parts[:3]) or path


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devtools.language", description=__doc__)
    parser.add_argument("paths", nargs="*", help="files and folders; without any, all of it")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout; this one otherwise")
    parser.add_argument("--summary", action="store_true", help="print the counts by folder")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
