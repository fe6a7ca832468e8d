"""A certification authority in a folder: its key, its certificate, and the index of all it has issued.

| file         | holds                                                                   | mode |
|--------------|-------------------------------------------------------------------------|------|
| `ca-key.pem` | the private key, PKCS#8, or what names one in an HSM (ca_keys.py)        | 0600 |
| `index.log`  | the journal behind the register, with `index.mark` and `index.lock`     | 0600 |
| `ca.pem`     | the authority's certificate, to hand out                                | 0644 |
| `chain.pem`  | the same with those above it, the root last                             | 0644 |
| `crl.pem`    | the newest revocation list, and `crl.der`                               | 0644 |

What leaves is in the index first, durably: a crash loses a certificate that nobody has seen, or none.
What it does with its key is in ca_issuing.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from meterseal.authority import ca_keys, register, terms
from meterseal.authority.ca_issuing import MEND, Clock, Issuing, founded
from meterseal.authority.register import Register
from meterseal.authority.terms import ROOT_DAYS, SUB_DAYS
from meterseal.credentials.files import is_there, write_public
from meterseal.crypto import SigningKey
from meterseal.crypto.certificates import Certificate
from meterseal.crypto.issuing import Authority
from meterseal.errors import (
    ConfigurationError,
    MetersealError,
    NotAllowed,
    StateDamaged,
)
from meterseal.state import Journal, read_records

CERTIFICATE, CHAIN, INDEX = "ca.pem", "chain.pem", "index"

_PATIENCE: Final = 10.0


def utc_now() -> datetime:
    """The time of this machine, to the second as certificates have it."""
    return datetime.now(UTC)


def look(folder: Path) -> Register:
    """The register of an authority, without its key or a lock, also from a folder that cannot be written.

    Raises ConfigurationError where there is none, StateDamaged, StateUnavailable.
    """
    _check_there(folder)
    found = Register(read_records(folder, INDEX, MEND))
    founded(found, folder)
    return found


class _Wanted(NamedTuple):
    """What a new authority is to be: the curve of its key and what guards that, a password or an HSM; whether
    it certifies against tokens only; and the store whose people act for it."""

    on: str
    password: bytes | None
    hsm: str | None
    tokens: bool
    roll: str | None


class CertificateAuthority(Issuing):
    """An authority at work, in one process at a time; `password` opens its private key.

    The key is read when something is signed first.  `by` says in the index who is acting.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: bytes | None = None,
        by: str = "",
        roll: str | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """`roll`: the name of the store whose roll has who acts.

        Raises ConfigurationError where there is none, NotAllowed for one that acts for people of another
        roll, StateLocked, StateDamaged, StateUnavailable.
        """
        _check_there(folder)
        self._begin(folder, password, by, clock)
        try:
            self.register = Register(self._journal.records())
            self.certificate  # noqa: B018 - raises where the index has no authority in it
            self.register.check_roll(roll)
        except (StateDamaged, ConfigurationError, NotAllowed):
            self.close()
            raise

    @classmethod
    def root(
        cls,
        folder: Path,
        name: str,
        *,
        on: str = "P-256",
        days: int | None = ROOT_DAYS,
        password: bytes | None = None,
        by: str = "",
        why: str = "",
        tokens: bool = False,
        hsm: str | None = None,
        roll: str | None = None,
        clock: Clock = utc_now,
    ) -> CertificateAuthority:
        """A new root in a new folder.  `on`: its curve; `days` None: without a planned end.

        `hsm`: a `pkcs11:` URI; its private key is made there and never leaves.  `roll`: the name of the store
        whose people act for it from then on, and for all below it.
        With `tokens` it certifies end entities against one-time tokens only.

        Raises ConfigurationError for a folder with an authority in it, Misuse, StateUnavailable.
        """

        def certify(key: SigningKey, now: datetime) -> Authority:
            return Authority.root(key, name, terms.validity(now, days, None))

        return cls._new(folder, _Wanted(on, password, hsm, tokens, roll), certify, (), by, why, clock)

    @classmethod
    def sub(
        cls,
        folder: Path,
        name: str,
        under: CertificateAuthority,
        *,
        on: str = "P-256",
        days: int | None = SUB_DAYS,
        password: bytes | None = None,
        why: str = "",
        tokens: bool = False,
        hsm: str | None = None,
    ) -> CertificateAuthority:
        """A new authority below another one, in a folder of its own; `tokens` and `hsm` as in `root`.

        Raises as `root`, and CertificateRefused: no authorities below that one, its name in use.
        """

        def certify(key: SigningKey, now: datetime) -> Authority:
            return under._certify_sub(key, name, days, why, now)

        above = (under.certificate, *under.register.above)
        wanted = _Wanted(on, password, hsm, tokens, under.register.roll)
        return cls._new(folder, wanted, certify, above, under._by, why, under._clock)

    @classmethod
    def _new(
        cls,
        folder: Path,
        wanted: _Wanted,
        certify: Callable[[SigningKey, datetime], Authority],
        above: tuple[Certificate, ...],
        by: str,
        why: str,
        clock: Clock,
    ) -> CertificateAuthority:
        made = cls.__new__(cls)
        made._begin(folder, wanted.password, by, clock)
        try:
            if made._journal.records():
                raise ConfigurationError(f"there is an authority in {folder} already")
            # Before the certificate: one without its key is of no use, and the other way round no harm.
            key = ca_keys.make(folder, wanted.on, wanted.password, wanted.hsm)
            try:
                made._found(wanted, certify, key, above, why)
            except BaseException:
                # A key of nothing is in the way of the next try; what failed last may be there all the same.
                with suppress(OSError, MetersealError):
                    if not read_records(folder, INDEX):
                        ca_keys.drop(folder, wanted.hsm)
                raise
        except BaseException:
            made.close()
            raise
        return made

    def _found(
        self,
        wanted: _Wanted,
        certify: Callable[[SigningKey, datetime], Authority],
        key: SigningKey,
        above: tuple[Certificate, ...],
        why: str,
    ) -> None:
        self.register = Register()
        self._authority = certify(key, self._now())
        certificate = self._authority.certificate
        write_public(self.folder / CERTIFICATE, certificate.to_pem(), "certificate")
        chain = b"".join(one.to_pem() for one in (certificate, *above))
        write_public(self.folder / CHAIN, chain, "certificates")
        self._keep(register.founded(certificate, above, wanted.tokens, wanted.roll), why)

    def _begin(self, folder: Path, password: bytes | None, by: str, clock: Clock) -> None:
        self.folder = folder
        self._password, self._by, self._clock = password, by, clock
        self._authority = None
        self._journal = Journal(folder, INDEX, mend=MEND, patience=_PATIENCE)

    def close(self) -> None:
        """Give up the folder, and the key."""
        self._journal.close()
        self._authority = self._password = None

    def __enter__(self) -> CertificateAuthority:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_there(folder: Path) -> None:
    if not is_there(folder / f"{INDEX}.log", "authority"):
        raise ConfigurationError(f"no authority in {folder}: `meterseal pki init` makes one")
