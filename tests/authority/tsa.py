"""A time-stamping authority for the tests: a root, an authority below it, stamps as asked for (RFC 3161)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as der_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MOMENT = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
_POLICY = "1.3.6.1.4.1.99999.1"


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class TimeStamper:
    """One authority.  `usage`: the extended key usages of its certificate, which is good from `before` days
    before MOMENT to `days` after it.
    """

    def __init__(
        self,
        usage: tuple[Any, ...] = (ExtendedKeyUsageOID.TIME_STAMPING,),
        *,
        days: int = 365,
        before: int = 30,
        critical: bool = True,
    ) -> None:
        begin = MOMENT - timedelta(days=before)
        root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = (
            x509.CertificateBuilder()
            .subject_name(_named("Time Root"))
            .issuer_name(_named("Time Root"))
            .public_key(root_key.public_key())
            .serial_number(1)
            .not_valid_before(begin)
            .not_valid_after(MOMENT + timedelta(days=max(days, 3650)))
            .add_extension(x509.BasicConstraints(True, None), True)
            .sign(root_key, hashes.SHA256())
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named("Time"))
            .issuer_name(self.root.subject)
            .public_key(self.key.public_key())
            .serial_number(2)
            .not_valid_before(begin)
            .not_valid_after(MOMENT + timedelta(days=days))
        )
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical)
        self.certificate = builder.sign(root_key, hashes.SHA256())

    @property
    def anchor(self) -> bytes:
        """The root, DER."""
        return self.root.public_bytes(Encoding.DER)

    def response(self, octets: bytes, **how: Any) -> bytes:
        """A TimeStampResp for `octets`."""
        status = {"status": how.pop("status", "granted")}
        token = cms.ContentInfo.load(self.token(octets, **how))
        made: bytes = tsp.TimeStampResp({"status": status, "time_stamp_token": token}).dump()
        return made

    def token(
        self,
        octets: bytes,
        *,
        at: datetime = MOMENT,
        hash: str = "sha512",
        digest: str = "sha256",
        root: bool = False,
    ) -> bytes:
        """A TimeStampToken for `octets`: `hash` of them, `digest` of what is signed, with `root` or not."""
        imprint = {
            "hash_algorithm": {"algorithm": hash},
            "hashed_message": hashlib.new(hash, octets).digest(),
        }
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": _POLICY,
                "message_imprint": imprint,
                "serial_number": 7,
                "gen_time": at,
            }
        ).dump()
        own = der_x509.Certificate.load(self.certificate.public_bytes(Encoding.DER))
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.new(digest, info).digest()]},
                {
                    "type": "signing_certificate_v2",
                    "values": [{"certs": [{"cert_hash": hashlib.sha256(own.dump()).digest()}]}],
                },
            ]
        )
        algorithm = {"sha256": hashes.SHA256(), "sha1": hashes.SHA1()}[digest]
        signature = self.key.sign(attributes.dump(), ec.ECDSA(algorithm))
        signer = {
            "version": "v1",
            "sid": {"issuer_and_serial_number": {"issuer": own.issuer, "serial_number": own.serial_number}},
            "digest_algorithm": {"algorithm": digest},
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": f"{digest}_ecdsa"}),
            "signature": signature,
        }
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [{"algorithm": digest}],
                "encap_content_info": {
                    "content_type": "tst_info",
                    "content": core.ParsableOctetString(info),
                },
                "certificates": [own, der_x509.Certificate.load(self.anchor)] if root else [own],
                "signer_infos": [signer],
            }
        )
        made: bytes = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
        return made


@cache
def stamper() -> TimeStamper:
    """The usual one."""
    return TimeStamper()
