"""Which URLs are those of an archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac import ConfigurationError
from celeriac.archive.storage import Storage


@pytest.mark.parametrize(
    "url", ["file://shop/celeriac-test", "file:shop", "file://", "file:///", "shop", "ftp://a/b"]
)
def test_a_url_of_something_else_is_refused_and_makes_no_folder(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"is not a URL of an archive\. Write s3://"):
        Storage(url)
    assert not list(tmp_path.iterdir())
    assert not Path("/celeriac-test").exists()
