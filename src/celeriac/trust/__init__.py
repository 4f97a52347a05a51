"""Who signed an event, and for whom it is encrypted. Needs the package cryptography, if used."""

from celeriac.trust.encrypter import Encrypter, make_encrypter
from celeriac.trust.guard import Guard
from celeriac.trust.key import PublicKey, SecretKey
from celeriac.trust.signer import Signer, make_signer
from celeriac.trust.verifier import Verifier, make_verifier

__all__ = [
    "Encrypter",
    "Guard",
    "PublicKey",
    "SecretKey",
    "Signer",
    "Verifier",
    "make_encrypter",
    "make_signer",
    "make_verifier",
]
