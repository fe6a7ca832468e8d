"""Time stamps (RFC 3161): somebody else's word that certain octets were there at a certain moment.

Reading and verifying the CMS part is rfc3161-client's (extra `evidence`); what is held against a stamp is
said here.  Certificates of time-stamping authorities are not of the DLMS profile: any that the backend reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meterseal.crypto.certificates import reading
from meterseal.errors import ConfigurationError, Forged, Malformed, TooLarge

LARGEST_STAMP: Final = 1 << 16
"""Octets of a stamp with its certificates."""

MOST_ANCHORS: Final = 256

_HASHES: Final = {
    "2.16.840.1.101.3.4.2.1": "SHA-256",
    "2.16.840.1.101.3.4.2.2": "SHA-384",
    "2.16.840.1.101.3.4.2.3": "SHA-512",
}
"""What a stamp may be made with, by OID: for the octets stamped and for the stamp itself."""

_TO_CERTIFICATES: Final = (True, False, True, False, True, True, False, False, False)
"""Into or past each element, from TimeStampResp to the certificates of SignedData (RFC 5652, 5.1)."""

_CERTIFICATES: Final = 0xA0

_GRANTED: Final = bytes.fromhex("3003020100")
"""PKIStatusInfo of a response with a stamp in it."""


class TimeStamp:
    """One stamp, from a TimeStampToken or the TimeStampResp around it (DER).

    What it says counts once `check` has been passed.
    """

    __slots__ = ("_response", "hash", "moment", "policy", "serial", "token")

    def __init__(self, octets: bytes) -> None:
        """Raises Malformed, TooLarge; ConfigurationError without the extra."""
        if len(octets) > LARGEST_STAMP:
            raise TooLarge(f"a time stamp of {len(octets)} octets, above {LARGEST_STAMP}")
        self._response = _read(bytes(octets))
        info = self._response.tst_info
        self.token: bytes = self._response.time_stamp_token()
        """The TimeStampToken alone."""
        self.moment: datetime = info.gen_time.astimezone(UTC)
        """The moment that it states, UTC."""
        self.serial: int = info.serial_number
        self.policy: str = info.policy.dotted_string
        self.hash: str = _HASHES.get(info.message_imprint.hash_algorithm.dotted_string, "")

    def check(self, octets: bytes, anchors: Sequence[bytes]) -> str:
        """The authority's name (RFC 4514), once the stamp is proved to be of `octets` and of that authority.

        `anchors` are the roots that are trusted for time, DER (`stamp_anchors`).  The authority's certificate
        is for time stamping and nothing else, and was in date at the moment stated.  Raises Forged,
        CertificateRefused.
        """
        client = _client()
        used = {one.dotted_string for one in self._response.signed_data.digest_algorithms}
        if not self.hash or used - _HASHES.keys():
            raise Forged("the time stamp is made with another hash than SHA-256, SHA-384 or SHA-512")
        builder = client.VerifierBuilder()
        for one in dict.fromkeys(anchors):
            builder = builder.add_root_certificate(x509.load_der_x509_certificate(one))
        with reading("a certificate in the time stamp"):
            try:
                builder.build().verify_message(self._response, octets)
            except (client.VerificationError, ValueError) as error:
                raise Forged(f"the time stamp does not hold: {_cause(error)}") from None
        return self._authority()

    def _authority(self) -> str:
        (signer,) = self._response.signed_data.signer_infos
        with reading("a certificate of the time-stamping authority"):
            for der in self._response.signed_data.certificates:
                one = x509.load_der_x509_certificate(der)
                if (one.issuer, one.serial_number) == (signer.issuer, signer.serial_number):
                    return one.subject.rfc4514_string()
        raise Forged("the time stamp does not hold: it names no certificate of its authority")


def stamp_request(octets: bytes) -> bytes:
    """The TimeStampReq (DER) to send to an authority: the SHA-512 of `octets`, its certificate wanted back.

    Raises ConfigurationError without the extra.
    """
    made: bytes = _client().TimestampRequestBuilder(octets, nonce=False).build().as_bytes()
    return made


def stamp_anchors(octets: bytes) -> list[bytes]:
    """The certificates of a PEM or DER file, as DER, of whatever profile.  Raises CertificateRefused."""
    with reading("a certificate of a time-stamping authority"):
        if b"-----BEGIN " in octets:
            found = x509.load_pem_x509_certificates(octets)
        else:
            found = [x509.load_der_x509_certificate(octets)]
        return [one.public_bytes(Encoding.DER) for one in found[:MOST_ANCHORS]]


def _read(octets: bytes) -> Any:
    client = _client()
    for whole in (octets, _response_around(octets)):
        try:
            response = client.decode_timestamp_response(_in_order(whole))
            status = client.PKIStatus(response.status)
            if status not in (client.PKIStatus.GRANTED, client.PKIStatus.GRANTED_WITH_MODS):
                raise Malformed("the time-stamping authority refused: there is no stamp in its response")
            token = response.time_stamp_token()
            if status is not client.PKIStatus.GRANTED:
                # A stamp all the same, and the verifier is to see that alone.
                response = client.decode_timestamp_response(_in_order(_response_around(token)))
            _ = response.tst_info.gen_time, response.signed_data.signer_infos
        except (ValueError, TypeError, OverflowError):
            continue
        return response
    raise Malformed("no time stamp in DER form")


def _response_around(token: bytes) -> bytes:
    """A bare token in the response that it came out of."""
    content = _GRANTED + token
    size = len(content).to_bytes(4, "big").lstrip(b"\x00")
    return b"\x30" + (bytes((0x80 | len(size),)) + size if len(content) > 127 else size) + content


def _in_order(response: bytes) -> bytes:
    """The same with its certificates in the order of DER, which the reader insists on.

    Neither the stamp nor its signature covers their order, and authorities that work with OpenSSL write the
    signer's first (RFC 5652, 5.1 and 11: DER is asked for where something is signed).  Raises ValueError.
    """
    at = 0
    for into in _TO_CERTIFICATES:
        if at == len(response):
            return response  # a refusal, which has a status and no token
        begin, end = _element(response, at)
        at = begin if into else end
    if response[at : at + 1] != bytes((_CERTIFICATES,)):
        return response
    begin, end = _element(response, at)
    parts, at = [], begin
    while at < end:
        _, after = _element(response, at)
        parts.append(response[at:after])
        at = after
    return response[:begin] + b"".join(sorted(parts)) + response[end:] if at == end else response


def _element(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of an element begins and ends.  Raises ValueError for what is not there or no DER."""
    size, begin = der[at + 1 : at + 2], at + 2
    if size and size[0] > 0x80:
        begin += size[0] & 0x7F
        size = der[at + 2 : begin]
    end = begin + int.from_bytes(size, "big")
    if not size or size[0] == 0x80 or end > len(der):
        raise ValueError("no whole element")
    return begin, end


def _cause(error: Exception) -> str:
    """The verifier's own words, without the list of places in its backend."""
    return str(error).partition(": ErrorStack")[0][:160] or type(error).__name__


def _client() -> ModuleType:
    try:
        import rfc3161_client
    except ImportError:
        text = "time stamps need rfc3161-client: pip install 'meterseal[evidence]'"
        raise ConfigurationError(text) from None
    return rfc3161_client
