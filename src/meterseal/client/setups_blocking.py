"""Security setup objects of a meter, blocking: policy, keys, key pairs and certificates (setups.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from meterseal.client.setups import ByEntity, BySerial, CertificateInfo, SetupSteps
from meterseal.client.steps import Steps

T = TypeVar("T")


class _Run(Protocol):
    """Carries out steps."""

    def __call__(self, steps: Steps[T], /) -> T:
        """What they return."""


class SecuritySetup:
    """One Security setup object (class 64 version 1), in suites 1 and 2 with all its methods.

    Every method raises Refused when the meter says no.
    """

    def __init__(self, steps: SetupSteps, run: _Run) -> None:
        self._steps, self._run = steps, run

    def activate(self, request: str, response: str | None = None) -> None:
        """Strengthen the policy: `authenticated+encrypted`, for responses the same when left out."""
        self._run(self._steps.activate(request, response))

    def key_transfer(self, keys: Mapping[str, bytes], kek: bytes | None = None) -> None:
        """Bring in new keys, by name (`guek`, `gbek`, `gak`, `kek`), wrapped under the KEK.

        `kek` None: that of the credentials.  Keys of this association's own setup are used from then on.
        Raises Misuse, KeyLength.
        """
        self._run(self._steps.transfer(keys, kek))

    def key_agreement(self, *names: str) -> dict[str, bytes]:
        """Agree on new keys, by name; they are in no message.  Returns their octets.

        Those of this association's own setup are used from then on; keep them (`Credentials.with_keys`).
        Raises UnknownKey without a signature key here or a certificate of the meter, Forged, Misuse.
        """
        return self._run(self._steps.agree(names))

    def generate_key_pair(self, kind: str) -> None:
        """Let the meter draw a pair: `signature`, `agreement` or `tls`.

        It works from the import of its certificate; until then the old one does.
        """
        self._run(self._steps.generate_key_pair(kind))

    def generate_certificate_request(self, kind: str) -> bytes:
        """PKCS#10 in DER by the pair that was generated last, else by the one in use."""
        return self._run(self._steps.certificate_request(kind))

    def import_certificate(self, der: bytes) -> None:
        """Bring in a certificate, DER: the meter's own, a client's, a third party's, an authority's."""
        self._run(self._steps.import_certificate(der))

    def export_certificate(self, which: BySerial | ByEntity) -> bytes:
        """A certificate that the meter holds, DER."""
        return self._run(self._steps.export_certificate(which))

    def remove_certificate(self, which: BySerial | ByEntity) -> None:
        """Remove a certificate; with one of the meter's own its private key is destroyed."""
        self._run(self._steps.remove_certificate(which))

    def certificates(self) -> list[CertificateInfo]:
        """What the meter holds, its trust anchors among them."""
        return self._run(self._steps.certificates())
