"""Enrolment: from a bare meter to a signed sign-on (classes 12.1), in one run that may be cut anywhere.

What has been done already is seen at the meter and in the authority's register, and nowhere else, so a run
that was cut is simply run again:

| what is found                                           | what is done                                       |
|---------------------------------------------------------|----------------------------------------------------|
| the meter lists the certificate that the register has   | nothing                                            |
| its request is for a key that has a valid certificate   | the certificate is imported                        |
| anything else                                           | generate_key_pair, generate_certificate_request, issued (renewed where the device has one), imported |

The request proves possession of the key; the title in it is held against what the operator knows the device
by, and the line it comes over is an association under that meter's own keys (catalogue D18).
"""  # noqa: E501 - a table row is a line

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from meterseal import sync
from meterseal.authority.ca import CertificateAuthority
from meterseal.authority.certifying import certified, listed_as, valid_for
from meterseal.authority.register import Entry, State
from meterseal.authority.requests import kept_request, new_request
from meterseal.authority.terms import DEVICE_DAYS
from meterseal.client.setups import CertificateInfo
from meterseal.client.setups_blocking import SecuritySetup
from meterseal.credentials import Credentials, RoleCredentials
from meterseal.credentials.files import companion, write_private
from meterseal.crypto import suite
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Request
from meterseal.errors import ConfigurationError, Refused, StateUnavailable
from meterseal.net import WireLog
from meterseal.security.hls import BY_NAME
from meterseal.security.protection import SIGNED


class Pair(NamedTuple):
    """A key pair that is certified: its kind at the meter, its purpose, its fields and files."""

    kind: str
    purpose: Purpose
    key: str
    certificate: str
    short: str


PAIRS: Final = (
    Pair("signature", Purpose.SIGNATURE, "signing_key", "signing_certificate", "sign"),
    Pair("agreement", Purpose.AGREEMENT, "agreement_key", "agreement_certificate", "agree"),
)


class Done(NamedTuple):
    """One certificate: whose (`meter`, `authority`, or a role), for what, and what was done about it.

    `what` is `there`, `imported`, `issued` or `renewed`; the last two are imported as well.
    """

    who: str
    purpose: str
    what: str
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What came of it: all certificates, the credentials as they are now, and the sign-on that proved it.

    `proved` is `{"role", "mechanism", "suite", "policy"}`, None where no role signs on by signature.
    """

    title: bytes
    done: tuple[Done, ...]
    credentials: Credentials
    proved: dict[str, object] | None


def enrol(
    credentials: Credentials,
    authority: CertificateAuthority,
    url: str | None = None,
    *,
    role: str | None = None,
    title: bytes | None = None,
    token: str | None = None,
    clients: Credentials | None = None,
    renew: bool = False,
    days: int | None = DEVICE_DAYS,
    state: str | os.PathLike[str] | None = None,
    wire_log: WireLog | None = None,
    told: Callable[[Done], None] | None = None,
) -> Enrolment:
    """Certify a meter and the clients of its credentials' roles, and prove it by a sign-on.

    `role` (the one with keys that does not sign, when left out) may generate key pairs and import
    certificates.  `title` is what the operator knows the meter by; None: that of the credentials.
    `clients` are credentials of another meter with the same clients, whose keys serve for this one too.  With
    `renew` the meter makes new pairs even where its certificates hold.  `told` hears of each step at once.

    Raises ConfigurationError, CertificateRefused, Refused, and what a sign-on raises.
    """
    made = _Enrolling(credentials, authority, role, title, told or _nobody)
    made.token, made.days, made.again = token, days, renew
    where: Any = {"url": url, "state": state, "wire_log": wire_log}
    with sync.connect(credentials=credentials, role=made.role, **where) as meter:
        setup = meter.security_setup()
        listed = setup.certificates()
        made.authorities(setup, listed)
        for pair in PAIRS:
            made.meter(setup, listed, pair)
        for name, client in credentials.roles.items():
            if signs(client):
                made.client(setup, listed, name, client, clients)
    found = made.credentials()
    found.save(made.path)
    prover = next((name for name, one in found.roles.items() if BY_NAME[one.mechanism].needs_keys), None)
    proved = None
    if prover is not None:
        with sync.connect(credentials=found, role=prover, **where) as meter:
            proved = meter.described()
    return Enrolment(made.title, tuple(made.done), found, proved)


def signs(role: RoleCredentials) -> bool:
    """True for a role that has key pairs: it signs on by signature, or signs what it asks."""
    return BY_NAME[role.mechanism].needs_keys or bool(role.protection & SIGNED or role.signed)


class _Enrolling:
    """One run."""

    days: int | None = DEVICE_DAYS
    token: str | None = None
    again = False

    def __init__(
        self,
        credentials: Credentials,
        authority: CertificateAuthority,
        role: str | None,
        title: bytes | None,
        told: Callable[[Done], None],
    ) -> None:
        known = credentials.meter.system_title
        if credentials.path is None:
            raise ConfigurationError("enrolment writes files: the credentials have to come from one")
        if known is None:
            raise ConfigurationError(
                "the credentials do not say which meter: [meter] system_title is missing"
            )
        if title not in (None, known):
            raise ConfigurationError(f"the credentials are of {known.hex().upper()}, not of that meter")
        self._curve = suite(credentials.meter.suite).curve
        if self._curve is None:
            raise ConfigurationError("suite 0 has no certificates")
        self.path, self.title, self.role = credentials.path, known, role or _enrolling_role(credentials)
        self.done: list[Done] = []
        self._given, self._authority, self._told = credentials, authority, told
        self._files = companion(self.path, "files")
        self._meter: dict[str, Any] = {}
        self._roles: dict[str, dict[str, Any]] = {}

    def _note(self, *done: Any) -> None:
        self.done.append(Done(*done))
        self._told(self.done[-1])

    # --- at the meter -----------------------------------------------------------------------

    def authorities(self, setup: SecuritySetup, listed: list[CertificateInfo]) -> None:
        """Bring in the certificates between the root, which is an anchor, and the end entities."""
        register = self._authority.register
        for one in reversed((self._authority.certificate, *register.above)):
            if one.subject != one.issuer:
                self._bring(setup, listed, "authority", one)

    def meter(self, setup: SecuritySetup, listed: list[CertificateInfo], pair: Pair) -> None:
        """One of the meter's own pairs, certified."""
        entry, what = self._own(setup, listed, pair)
        if what != "there":
            self._import(setup, entry.certificate)
        self._note("meter", pair.kind, what, entry.certificate)
        self._meter[pair.certificate] = self._write(f"meter-{pair.short}.pem", entry.certificate)

    def _own(self, setup: SecuritySetup, listed: list[CertificateInfo], pair: Pair) -> tuple[Entry, str]:
        held = self._authority.register.of_party(self.title, pair.purpose)
        holds = held is not None and held.state is State.VALID
        there = held is not None and holds and listed_as(listed, held.certificate) is not None
        if held is not None and there and not self.again:
            return held, "there"
        waiting = None if there else self._waiting(setup, pair)
        if waiting is not None:
            return waiting, "imported"
        setup.generate_key_pair(pair.kind)
        request = Request(setup.generate_certificate_request(pair.kind))
        how: Any = {"days": self.days, "token": self.token, "why": _WHY}
        return certified(self._authority, request, self.title, pair.purpose, **how)

    def _waiting(self, setup: SecuritySetup, pair: Pair) -> Entry | None:
        """The valid certificate, for just this, that the key of the meter's pair has already."""
        try:
            request = Request(setup.generate_certificate_request(pair.kind))
        except Refused:  # it has no pair yet
            return None
        return valid_for(self._authority, request, self.title, pair.purpose)

    def _bring(
        self, setup: SecuritySetup, listed: list[CertificateInfo], who: str, one: Certificate, what: str = ""
    ) -> None:
        there = listed_as(listed, one) is not None
        if not there:
            self._import(setup, one)
        self._note(who, one.purpose.name.lower(), what or ("there" if there else "imported"), one)

    def _import(self, setup: SecuritySetup, one: Certificate) -> None:
        try:
            setup.import_certificate(one.der)
        except Refused as error:
            above = (self._authority.certificate, *self._authority.register.above)[-1]
            raise Refused(
                f"{error}: the meter does not take the certificate of {one.subject_text}. "
                f"Is {above.subject_text} among its trust anchors, is its clock right, and may role "
                f"{self.role} import?",
                reason=error.reason, code=error.code, source=error.source,
            ) from error  # fmt: skip

    # --- clients ----------------------------------------------------------------------------

    def client(
        self,
        setup: SecuritySetup,
        listed: list[CertificateInfo],
        name: str,
        role: RoleCredentials,
        clients: Credentials | None,
    ) -> None:
        """The pairs of a role's client: found, else made; certified, and told to the meter."""
        if role.client_system_title is None:
            raise ConfigurationError(f"role {name}: client_system_title is missing")
        fields = self._roles[name] = self._shared(role.client_system_title, clients)
        for pair in PAIRS:
            certificate, what = self._of_client(name, role, pair, fields)
            self._bring(setup, listed, name, certificate, what)

    def _shared(self, title: bytes, clients: Credentials | None) -> dict[str, Any]:
        """The files that this client has at another meter, by their whole paths."""
        if clients is None:
            return {}
        for name, other in clients.roles.items():
            if other.client_system_title == title and other.signing_key is not None:
                found = clients.cut(name).role(name)
                fields = [field for pair in PAIRS for field in (pair.key, pair.certificate)]
                return {field: getattr(found, field) for field in fields}
        return {}

    def _of_client(
        self, name: str, role: RoleCredentials, pair: Pair, fields: dict[str, Any]
    ) -> tuple[Certificate, str]:
        given = fields.get(pair.key) or getattr(role, pair.key)
        fields[pair.key] = given or f"{self._files.name}/{name}-{pair.short}.key"
        key_file = self.path.parent / fields[pair.key]
        title = role.client_system_title or b""
        if key_file.exists():
            request = kept_request(key_file, title, pair.purpose)
        else:
            self._make_folder(key_file.parent)
            request = new_request(key_file, title, pair.purpose, self._curve or "")
        entry, what = self._authority.register.of_key(request.key(pair.purpose)), ""
        if entry is None or entry.state is not State.VALID:
            # The key is here, and so is the authority: it gives itself the token that it asks others for.
            needed = self._authority.register.tokens.needed
            token = self._authority.token(title, days=1, why=_WHY) if needed else None
            entry = self._authority.issue(request, title, pair.purpose, days=self.days, token=token, why=_WHY)
            what = "issued"
        if not (fields.get(pair.certificate) and Path(self.path.parent, fields[pair.certificate]).exists()):
            fields[pair.certificate] = self._write(f"{name}-{pair.short}.pem", entry.certificate)
        return entry.certificate, what

    # --- files ------------------------------------------------------------------------------

    def credentials(self) -> Credentials:
        """The credentials with all that is there now; files are written before."""
        given = self._given
        root = (self._authority.certificate, *self._authority.register.above)[-1]
        trust = given.meter.trust
        if not any(root == one for one in self._anchors()):
            trust = (*trust, self._write("authority-root.pem", root))
        meter = replace(given.meter, trust=trust, **self._meter)
        roles = {name: replace(one, **self._roles.get(name, {})) for name, one in given.roles.items()}
        return Credentials(meter, roles, given.path)

    def _anchors(self) -> Iterator[Certificate]:
        for name in self._given.meter.trust:
            path = self.path.parent / name
            if path.exists():
                yield from Certificate.from_pem(path.read_bytes())

    def _write(self, name: str, certificate: Certificate) -> str:
        self._make_folder(self._files)
        write_private(self._files / name, certificate.to_pem(), "certificate")
        return f"{self._files.name}/{name}"

    @staticmethod
    def _make_folder(folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateUnavailable(f"folder {folder}: {error.strerror or error}") from None


_WHY: Final = "enrolment"


def _enrolling_role(credentials: Credentials) -> str:
    """The role that may be signed on to without certificates: with keys, and not by signature."""
    found = [n for n, one in credentials.roles.items() if one.guek is not None and not signs(one)]
    if len(found) != 1:
        known = ", ".join(found) or "none"
        raise ConfigurationError(f"say which role enrols; those with keys that do not sign are: {known}")
    return found[0]


def _nobody(done: Done) -> None:
    """Nobody waits for the steps one by one."""
