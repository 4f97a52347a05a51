"""Merkle trees over events that are signed together, as in RFC 9162 (Certificate Transparency 2.0).

Pure. SHA-256; the prefix of a leaf is the byte 0, that of an inner node the byte 1, so that neither
can replace the other. The last node of a level with an odd number of them moves up unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32
MAX_SIZE = 1024  # leaves that a verifier accepts, so that a path has at most 10 hashes
MAX_PATH = (MAX_SIZE - 1).bit_length()

# No event begins with this, so a signature of a root is never valid for an event.
_LABEL = b"celeriac batch 1\n"


class Proof(NamedTuple):
    """Proof that a leaf is in a tree: its position, the number of leaves, and the sibling hashes
    from the leaf up."""

    position: int
    size: int
    path: bytes


def leaf_hash(message: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + message).digest()


def signed_root(root: bytes, size: int) -> bytes:
    """Return the bytes that are signed for a tree."""
    return _LABEL + size.to_bytes(4, "big") + root


def build_tree(leaves: Iterable[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the root over the hashes of one leaf or more, and the path of each."""
    level = list(leaves)
    levels = []
    while len(level) > 1:
        levels.append(level)
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [sha256(b"\x01" + first + second).digest() for first, second in pairs]
        level = [*above, level[-1]] if len(level) % 2 else above
    paths = [b""]
    for below in reversed(levels):
        paths = _extended(below, paths)
    return level[0], paths


def _extended(level: Sequence[bytes], above: Sequence[bytes]) -> list[bytes]:
    """Return the paths of a level's nodes, given those of the level above."""
    paths: list[bytes] = []
    for first, second, path in zip(level[::2], level[1::2], above, strict=False):
        paths += (second + path, first + path)
    return [*paths, above[-1]] if len(level) % 2 else paths


# Cached because the paths of events that are verified together share their upper nodes.
@lru_cache(maxsize=1024)
def _node_hash(pair: bytes) -> bytes:
    return sha256(b"\x01" + pair).digest()


def root_of(leaf: bytes, proof: Proof) -> bytes | None:
    """Return the root of the tree that has this leaf at the position in the proof.

    None if a leaf of such a tree cannot have a path of this length (RFC 9162, 2.1.3.2).
    """
    position, last, path = proof.position, proof.size - 1, proof.path
    if not 0 <= position <= last < MAX_SIZE:
        return None
    at, node = 0, leaf
    while last:
        if position & 1 or position != last:  # otherwise the node moves up unchanged
            sibling = path[at : at + HASH_BYTES]
            if len(sibling) != HASH_BYTES:
                return None
            pair = sibling + node if position & 1 else node + sibling
            node = _node_hash(pair)
            at += HASH_BYTES
        position >>= 1
        last >>= 1
    return node if at == len(path) else None
