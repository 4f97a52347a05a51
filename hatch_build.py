"""The description that the package index shows: README.md with absolute links and images.

On GitHub the links of README.md are relative. The package index has no repository to resolve them
in, so hatchling calls this hook when it builds the metadata. Links point to the tag of the release.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE = re.compile(r"(^```.*?^```)", re.M | re.S)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#|//)([^)\s]+)\)")
_COMMENT = re.compile(r"<!--.*?-->\n?", re.S)


class PublishedReadme(MetadataHookInterface):
    """Sets `readme` in the metadata of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        repository = metadata["urls"]["Repository"]
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": published(text, repository, f"v{metadata['version']}"),
        }


def published(text: str, repository: str, tag: str) -> str:
    """Return the text with each relative link as a URL of the repository at `tag`, and without
    comments. Code blocks stay as they are."""

    def absolute(link: re.Match[str]) -> str:
        image, label, target = link.groups()
        label = _LINK.sub(absolute, label)  # an image that is a link
        return f"{image}[{label}]({repository}/{'raw' if image else 'blob'}/{tag}/{target})"

    parts = _FENCE.split(text)
    return "".join(
        part if part.startswith("```") else _LINK.sub(absolute, _COMMENT.sub("", part))
        for part in parts
    )
