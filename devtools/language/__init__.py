"""The check of the project's words: `python3 dev.py check language`.

`rules.toml` lists the words and turns of phrase that the project does not use, each with its
replacement. The check reads docs, docstrings, comments, messages, names and commit subjects, and
prints each match as `file:line: word → use instead`.
"""
