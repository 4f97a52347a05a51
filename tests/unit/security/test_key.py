"""Keys in settings, files and directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celeriac import ConfigurationError
from celeriac.security.generate import generate
from celeriac.security.key import ENCRYPTION, SIGNING, public_keys, secret_keys
from tests.unit.security.conftest import Keys, together


def trusted(given: str, curve: str = SIGNING) -> Any:
    return public_keys(given, setting="CELERIAC_TRUSTED_KEYS", curve=curve)


def test_keys_are_read_from_a_text_a_file_and_a_directory(keys: Keys, tmp_path: Path) -> None:
    _, one = keys("one")
    _, two = keys("two")
    _, third = keys("three", encryption=True)
    (tmp_path / "one.json").write_text(one)
    (tmp_path / "set.json").write_text(together(two, third))
    (tmp_path / "README").write_text("no key")
    assert [*trusted(one)] == ["one"]
    assert [*trusted(str(tmp_path / "one.json"))] == ["one"]
    assert [*trusted(str(tmp_path))] == ["one", "two"]
    assert [*trusted(str(tmp_path), ENCRYPTION)] == ["three"]
    assert trusted("") == {}


def test_of_a_private_key_among_the_trusted_only_the_public_part_is_taken(keys: Keys) -> None:
    private, public = keys("one")
    assert trusted(private)["one"].public == trusted(public)["one"].public


def test_a_secret_key_is_in_no_repr_and_in_no_repr_of_settings(keys: Keys) -> None:
    from celeriac.settings import Settings

    private, _ = keys("one")
    (key,) = secret_keys(private, setting="CELERIAC_SIGNING_KEY", curve=SIGNING)
    secret = json.loads(private)["d"]
    assert repr(key) == "SecretKey('one', Ed25519)"
    assert secret not in repr(Settings.load({}, signing_key=private))


# The public key of RFC 8037, since a generated one would give each process other test ids.
GOOD = {**generate("k")[1], "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("/nowhere/at/all", "CELERIAC_TRUSTED_KEYS=/nowhere/at/all: no such file or directory"),
        ("{", "is not JSON"),
        ('{"keys":[1]}', "contains something other than JSON Web Keys"),
        ('{"keys":1}', "contains something other than JSON Web Keys"),
        (json.dumps({**GOOD, "kid": "a b"}), "a key needs an id"),
        (json.dumps({**GOOD, "kid": 1}), "a key needs an id"),
        (json.dumps({**GOOD, "kty": "RSA"}), "must have kty OKP"),
        (json.dumps({**GOOD, "crv": "P-256"}), "must have kty OKP"),
        (json.dumps({**GOOD, "x": "AAAA"}), "must be 32 bytes in base64url"),
        (json.dumps({**GOOD, "x": 1}), "must be 32 bytes in base64url"),
        (json.dumps({**GOOD, "sources": "orders"}), "`sources` of a key must be a list"),
        (json.dumps({**GOOD, "types": ["a..b"]}), "has an empty segment"),
        (json.dumps({**GOOD, "tenants": "acme"}), "`tenants` of a key must be a list"),
        (json.dumps({**GOOD, "tenants": ["a b"]}), "`tenants` of the key 'k': 'a b' must not"),
        (together(json.dumps(GOOD), json.dumps(generate("k")[1])), "two keys have the id 'k'"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_its_setting(given: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match="CELERIAC_TRUSTED_KEYS") as error:
        trusted(given)
    assert message in str(error.value)


def test_a_public_key_does_not_sign_and_an_encryption_key_neither(keys: Keys) -> None:
    def secret(given: str) -> Any:
        return secret_keys(given, setting="CELERIAC_SIGNING_KEY", curve=SIGNING)

    with pytest.raises(ConfigurationError, match="has no private part"):
        secret(keys("one")[1])
    with pytest.raises(ConfigurationError, match="the key 'two' has the curve X25519"):
        secret(keys("two", encryption=True)[0])


def test_a_key_needs_a_name_and_patterns_that_can_match() -> None:
    with pytest.raises(ConfigurationError, match="key id 'a b'"):
        generate("a b")
    with pytest.raises(ConfigurationError, match="empty segment"):
        generate("a", types=["a..b"])
    with pytest.raises(ConfigurationError, match="key 'a': tenants: 'x y' must not contain"):
        generate("a", tenants=["x y"])
