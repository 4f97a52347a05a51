"""Trees over events that are signed together: every leaf has one path, and no other leads to the
root."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from celeriac.event.merkle import (
    HASH_BYTES,
    MAX_PATH,
    MAX_SIZE,
    Proof,
    build_tree,
    leaf_hash,
    root_of,
    signed_root,
)

# The leaves of the test vectors of Certificate Transparency (RFC 6962), and the roots of trees of
# the first one, of the first two, and so on: github.com/google/certificate-transparency.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
sizes = st.integers(1, 130)


def tree(size: int) -> tuple[list[bytes], bytes, list[bytes]]:
    leaves = [leaf_hash(b"%d" % n) for n in range(size)]
    return leaves, *build_tree(leaves)


def test_the_roots_are_those_of_certificate_transparency() -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES]
    found = [build_tree(hashes[:size])[0].hex() for size in range(1, 9)]
    assert [*ROOTS] == found


@given(sizes)
def test_each_path_leads_from_its_leaf_to_the_root(size: int) -> None:
    leaves, root, paths = tree(size)
    assert size == len(paths)
    for position, (leaf, path) in enumerate(zip(leaves, paths, strict=True)):
        assert root == root_of(leaf, Proof(position, size, path))
        assert len(path) <= HASH_BYTES * (size - 1).bit_length()


def test_the_largest_tree_has_the_longest_path() -> None:
    leaves, root, paths = tree(MAX_SIZE)
    assert HASH_BYTES * MAX_PATH == len(paths[0])
    assert root == root_of(leaves[5], Proof(5, MAX_SIZE, paths[5]))
    leaves, _, paths = tree(MAX_SIZE + 1)
    assert root_of(leaves[5], Proof(5, MAX_SIZE + 1, paths[5])) is None


@given(st.data(), st.integers(2, 70))
def test_no_other_leaf_place_or_path_leads_there(data: st.DataObject, size: int) -> None:
    leaves, root, paths = tree(size)
    position = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != position))
    leaf, path = leaves[position], paths[position]
    assert root != root_of(leaves[other], Proof(position, size, path))
    assert root != root_of(leaf, Proof(position, size, paths[other]))
    assert root != root_of(leaf, Proof(other, size, path))
    place = data.draw(st.integers(0, len(path) - 1))
    changed = path[:place] + bytes([path[place] ^ data.draw(st.integers(1, 255))])
    assert root != root_of(leaf, Proof(position, size, changed + path[place + 1 :]))


@given(st.integers(-2, 2000), st.integers(-2, 2000), st.binary(max_size=400))
def test_any_proof_has_a_root_or_none(position: int, size: int, path: bytes) -> None:
    root = root_of(b"\x01" * 32, Proof(position, size, path))
    assert root is None or (0 <= position < size <= MAX_SIZE and len(path) % HASH_BYTES == 0)


@given(st.integers(2, 70), st.integers(0, 69), st.integers(-32, 64).filter(bool))
def test_a_path_of_another_length_has_no_root(size: int, position: int, more: int) -> None:
    leaves, _, paths = tree(size)
    position %= size
    path = paths[position]
    changed = path + b"\x00" * more if more > 0 else path[:more]
    assert root_of(leaves[position], Proof(position, size, changed)) is None


def test_a_node_is_no_leaf() -> None:
    """Otherwise a tree of two events would sign an event that consists of their hashes."""
    leaves, root, _ = tree(2)
    assert root == sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert root != leaf_hash(leaves[0] + leaves[1])
    assert not signed_root(root, 2).startswith(b"{")
