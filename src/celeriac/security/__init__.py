"""Signatures and encryption of events. Needs the optional package cryptography."""

from celeriac.security.encrypter import Encrypter, make_encrypter
from celeriac.security.event_security import EventSecurity
from celeriac.security.key import PublicKey, SecretKey
from celeriac.security.signer import Signer, make_signer
from celeriac.security.verifier import Verifier, make_verifier

__all__ = [
    "Encrypter",
    "EventSecurity",
    "PublicKey",
    "SecretKey",
    "Signer",
    "Verifier",
    "make_encrypter",
    "make_signer",
    "make_verifier",
]
