"""Redis with TLS and a client certificate: `rediss://`, for the event log and Celery's broker."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from celeriac import BusUnavailable, EventBus
from celeriac.testing.ports import free_port
from celeriac.testing.server import ServerFailed, start_server

# kombu has no type annotations
broker: Any = kombu


def certificate(folder: Path, name: str, issuer: Any = None) -> Any:
    """Write NAME.key and NAME.crt; return the authority for further certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signed_by = issuer or (key, subject)
    # Python 3.13 enforces RFC 5280: key identifiers, and the usage of an authority's key.
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    names_of_uses = (
        "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
        "encipher_only", "decipher_only",
    )  # fmt: skip
    usage = dict.fromkeys(names_of_uses, False)
    usage |= {"digital_signature": True, "key_cert_sign": issuer is None}
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(own_id, critical=False)
        .add_extension(signer_id, critical=False)
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key, subject


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Return the folder of the certificates, and the port of a server that requires them."""
    folder = tmp_path_factory.mktemp("tls")
    authority = certificate(folder, "ca")
    for name in ("server", "client"):
        certificate(folder, name, authority)
    port = free_port()
    options = (
        "--tls-port", str(port), "--tls-cert-file", f"{folder}/server.crt",
        "--tls-key-file", f"{folder}/server.key", "--tls-ca-cert-file", f"{folder}/ca.crt",
        "--tls-auth-clients", "yes",
    )  # fmt: skip
    try:
        server = start_server(folder / "data", appendonly=False, extra=options)
    except ServerFailed:
        # the embedded one may be built without TLS
        binary = shutil.which("valkey-server") or shutil.which("redis-server")
        if binary is None:
            pytest.skip("no server with TLS: the embedded one is built without, and PATH has none")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CELERIAC_REDIS_SERVER", binary)
            server = start_server(folder / "data", appendonly=False, extra=options)
    with server:
        yield folder, port


def url(folder: Path, port: int, *, client: bool = True) -> str:
    options = f"ssl_cert_reqs=required&ssl_ca_certs={folder}/ca.crt"
    if client:
        options += f"&ssl_certfile={folder}/client.crt&ssl_keyfile={folder}/client.key"
    return f"rediss://localhost:{port}/0?{options}"


def test_events_and_tasks_go_by_tls_with_a_client_certificate(tls: tuple[Path, int]) -> None:
    bus = EventBus(service="billing", redis_url=url(*tls))
    bus.emit("order.placed", {"n": 1}, id="a")
    assert len(bus.service.backend.event_log.read("order")) == 1
    # the broker of the app that the bus makes is the same URL
    with broker.Connection(bus.app.conf.broker_url) as connection:
        queue = connection.SimpleQueue("tls")
        queue.put({"n": 1})
        taken = queue.get(timeout=5)
        assert taken.payload == {"n": 1}
        taken.ack()
        queue.close()


@pytest.mark.parametrize("spoilt", ["no client certificate", "an unknown authority", "no TLS"])
def test_without_the_right_certificates_nothing_is_sent_and_the_setting_is_named(
    tls: tuple[Path, int], spoilt: str, tmp_path: Path
) -> None:
    folder, port = tls
    certificate(tmp_path, "ca")
    given = {
        "no client certificate": url(folder, port, client=False),
        "an unknown authority": url(folder, port).replace(f"{folder}/ca.crt", f"{tmp_path}/ca.crt"),
        "no TLS": f"redis://localhost:{port}/0",
    }[spoilt]
    bus = EventBus(redis_url=given, emit_timeout=0.3)
    with pytest.raises(BusUnavailable, match="CELERIAC_REDIS_URL"):
        bus.emit("order.placed", {"n": 1})
