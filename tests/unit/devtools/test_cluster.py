"""The embedded cluster: whether its nodes agree, before a slot is moved."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import pytest

from celeriac.testing.server import EmbeddedServer, ServerFailed
from devtools.cluster import EmbeddedCluster

View = dict[str, tuple[str, Any]]
AGREED: View = {"a": ("4", [["0", "99"]]), "b": ("5", [["100", "16383"]])}


class Cluster(EmbeddedCluster):
    """Two nodes that see what they are given."""

    def __init__(self, *views: View) -> None:
        self._views = dict(enumerate(views))
        super().__init__(cast(list[EmbeddedServer], list(self._views)), [], ExitStack())

    def _view(self, node: EmbeddedServer) -> View:
        return self._views[cast(int, node)]


def test_nodes_with_the_same_view_agree() -> None:
    Cluster(AGREED, AGREED).until_agreed(0)


@pytest.mark.parametrize(
    "view",
    [
        {**AGREED, "b": ("2", [["100", "16383"]])},
        {**AGREED, "b": ("5", [["101", "16383"]])},
    ],
    ids=["an older epoch", "other slots"],
)
def test_a_node_that_has_not_received_a_change_disagrees(view: View) -> None:
    with pytest.raises(ServerFailed, match="disagree on slots"):
        Cluster(AGREED, view).until_agreed(0)


def test_nodes_with_the_same_epoch_are_about_to_change_it() -> None:
    tied: View = {**AGREED, "b": ("4", AGREED["b"][1])}
    with pytest.raises(ServerFailed, match="disagree on slots"):
        Cluster(tied, tied).until_agreed(0)
