"""Cryptography: the only package that imports `cryptography`; keys are handles, primitives are the backend's.

A key goes in as octets and comes out as a handle with a few verbs (`GcmKey`, `WrappingKey`,
`SigningKey`, `AgreementKey`); its octets do not come out again, not in a repr, a pickle, an error
text or a traceback.  Opening is one-shot: nothing of a message leaves before its tag has been
verified.
"""

from meterseal.crypto.check import kcv
from meterseal.crypto.curves import (
    AgreementKey,
    AgreementPoint,
    Curve,
    PublicKey,
    SigningKey,
    VerifyingKey,
    curve,
)
from meterseal.crypto.gcm import IV_LENGTH, TAG_LENGTH, GcmKey
from meterseal.crypto.hashes import digest_of, hls_sha256
from meterseal.crypto.old_hashes import hls_md5, hls_sha1
from meterseal.crypto.secret import Guarded, Secret, is_blank, random_octets, same
from meterseal.crypto.suites import SUITES, Suite, suite
from meterseal.crypto.wrap import WrappingKey

__all__ = [
    "IV_LENGTH",
    "SUITES",
    "TAG_LENGTH",
    "AgreementKey",
    "AgreementPoint",
    "Curve",
    "GcmKey",
    "Guarded",
    "PublicKey",
    "Secret",
    "SigningKey",
    "Suite",
    "VerifyingKey",
    "WrappingKey",
    "curve",
    "digest_of",
    "hls_md5",
    "hls_sha1",
    "hls_sha256",
    "is_blank",
    "kcv",
    "random_octets",
    "same",
    "suite",
]
