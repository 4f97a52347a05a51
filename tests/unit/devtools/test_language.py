"""The language check finds the words that the project does not use, wherever they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devtools.language.__main__ import check
from devtools.language.rules import Rules

RULES = """\
paths = ["src", "tests", "README.md"]
unique_classes = ["src"]
repeatable_classes = ["Migration"]
subjects_since = "HEAD~1"
[everywhere]
"lanes?" = "sequence"
[text]
"by hand" = "manually"
"nobody" = "no worker"
[names]
"most" = "max_…"
[whole_names]
"found" = "the noun"
[subjects]
"^let\\\\b" = "a verb that says the behaviour"
".{71,}" = "at most 70 characters"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with nothing to find."""
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "README.md").write_text("# Title\n")
    return tmp_path


def found(root: Path, rules: str = RULES) -> list[str]:
    """Return the findings in files, without those in commits."""
    path = root / "rules.toml"
    path.write_text(rules)
    findings = check(root, Rules(path))
    return sorted(str(finding) for finding in findings if not finding.path.startswith("commit"))


def python(root: Path, source: str) -> list[str]:
    (root / "src/module.py").write_text(source)
    return found(root)


def page(root: Path, text: str) -> list[str]:
    (root / "README.md").write_text(text)
    return found(root)


def test_the_rules_of_the_project_find_a_word_of_each_kind(root: Path) -> None:
    (root / "README.md").write_text("The doorbell says so.\n")
    assert ["doorbell", "says"] == [
        finding.words for finding in check(root, Rules(), ["README.md"])
    ]


def test_a_word_in_a_page_is_found_in_any_case(root: Path) -> None:
    assert page(root, "one\n\nTwo Lanes.\n") == ["README.md:3: Lanes → sequence"]


def test_a_part_of_a_word_is_not_the_word(root: Path) -> None:
    assert page(root, "planes and lanester\n") == []


def test_a_word_in_a_snake_case_name_in_a_page_is_found(root: Path) -> None:
    assert page(root, "`lane_key`\n") == ["README.md:1: lane → sequence"]


def test_words_on_two_lines_are_found(root: Path) -> None:
    assert page(root, "> Restart it by\n> hand.\n") == ["README.md:1: by hand → manually"]


def test_words_in_two_paragraphs_are_not_one_phrase(root: Path) -> None:
    assert page(root, "what it is by\n\nhand\n") == []


def test_python_in_a_page_is_read_as_python(root: Path) -> None:
    text = "# Title\n\n```python\n# nobody waits\nfound = 1\nprint(found)\n```\n\nfound by hand\n"
    assert page(root, text) == [
        "README.md:4: nobody → no worker",
        "README.md:5: found → the noun",
        "README.md:9: by hand → manually",
    ]


@pytest.mark.parametrize(
    "source",
    ['"""A lane."""\n', "# a lane\n", 'raise E("the lane is closed")\n', 'f"lane {x} ended"\n'],
    ids=["docstring", "comment", "message", "f-string"],
)
def test_a_word_is_found_in_what_python_code_writes_for_people(root: Path, source: str) -> None:
    assert python(root, source) == ["src/module.py:1: lane → sequence"]


@pytest.mark.parametrize(
    "source",
    [
        "def read_lane(): ...", "class LaneReader: ...", "def f(lane): ...", "self.a.lane = 1",
        "for lane in x: ...", "import a as lane", "lane: int = 1", "LANE_KEY = 1", 'x["lane:a"]',
    ],
    ids=str,
)  # fmt: skip
def test_a_word_is_found_in_names_that_python_code_defines(root: Path, source: str) -> None:
    assert len(python(root, source)) == 1


def test_names_that_other_code_defines_are_not_checked(root: Path) -> None:
    assert python(root, "counter.most_common(found, lane.lane)\n") == []


def test_a_whole_name_is_found_without_its_underscores_only(root: Path) -> None:
    source = "_found = 1\nfound_entries = 2\n"
    assert python(root, source) == ["src/module.py:1: _found → the noun"]


def test_a_docstring_match_has_its_own_line(root: Path) -> None:
    source = 'def f():\n    """Return it.\n\n    Run it by hand.\n    """\n'
    assert python(root, source) == ["src/module.py:4: by hand → manually"]


def test_comments_on_following_lines_are_one_text(root: Path) -> None:
    source = "x = 1\n# run it by\n# hand\n"
    assert python(root, source) == ["src/module.py:2: by hand → manually"]


def test_lua_comments_names_and_keys_are_checked(root: Path) -> None:
    (root / "src/a.lua").write_text("-- nobody\nlocal lane, b = 1\ncall('lane:x')\n")
    assert found(root) == [
        "src/a.lua:1: nobody → no worker",
        "src/a.lua:2: lane → sequence",
        "src/a.lua:3: lane:x (lane) → sequence",
    ]


def test_file_and_folder_names_are_checked(root: Path) -> None:
    (root / "src/lane").mkdir()
    (root / "src/lane/lanes.py").touch()
    assert found(root) == [
        "src/lane/lanes.py:1: lane → sequence",
        "src/lane/lanes.py:1: lanes → sequence",
    ]


def test_of_tests_the_docstrings_and_the_names_as_sentences_are_checked(root: Path) -> None:
    source = 'def test_it_is_done_by_hand():\n    """Nobody."""\n    found = most = "nobody"\n'
    (root / "tests/test_a.py").write_text(source)
    (root / "tests/foreign.md").write_text("Nobody.\n")
    assert found(root) == [
        "tests/test_a.py:1: by hand → manually",
        "tests/test_a.py:2: Nobody → no worker",
    ]


def test_a_class_name_that_exists_twice_is_found(root: Path) -> None:
    for name in "ab":
        (root / f"src/{name}.py").write_text("class Reader: ...\n")
    assert found(root) == ["src/b.py:1: class Reader → another name; src/a.py:1 has this one"]


def test_a_class_name_that_a_framework_requires_may_be_repeated(root: Path) -> None:
    for name in "ab":
        (root / f"src/{name}.py").write_text("class Migration: ...\n")
    assert found(root) == []


def test_an_exception_covers_its_text_in_its_files(root: Path) -> None:
    (root / "README.md").write_text("A traffic lane.\nA lane.\n")
    rules = RULES + '[[exception]]\ntext = "traffic lane"\npath = "README.md"\nreason = "roads"\n'
    assert found(root, rules) == ["README.md:2: lane → sequence"]


def test_an_exception_that_nothing_needs_is_found(root: Path) -> None:
    rules = RULES + '[[exception]]\ntext = "traffic lane"\nreason = "roads"\n'
    assert [f.split(": ")[1] for f in found(root, rules)] == [
        "exception 'traffic lane' for * → remove it, nothing needs it"
    ]


def test_commit_subjects_since_the_base_are_checked(root: Path) -> None:
    def git(*arguments: str) -> None:
        command = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    git("init", "-q")
    git("commit", "--allow-empty", "-m", "Let lanes be")
    git("commit", "--allow-empty", "-m", "Let a lane be read by hand")
    path = root / "rules.toml"
    path.write_text(RULES)
    texts = [str(finding).split(":1: ")[1] for finding in check(root, Rules(path))]
    assert texts == [
        "Let a lane be read by hand → a verb that says the behaviour",
        "lane → sequence",
        "by hand → manually",
    ]


def test_a_project_without_git_history_is_checked_without_subjects(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(root) == []
    assert "no commit subject was checked" in capsys.readouterr().err
