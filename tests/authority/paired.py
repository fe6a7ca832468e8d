"""A meter of suite 1 under an authority, and a store that knows its keys, pairs and certificates."""

from __future__ import annotations

from typing import Any

from meterseal.authority import CertificateAuthority
from meterseal.authority.certifying import Certifier
from meterseal.authority.probing import Line
from meterseal.authority.rotator import Rotator
from meterseal.authority.store import Store
from meterseal.authority.store.keeping import slot_of
from meterseal.credentials import Credentials
from meterseal.credentials.files import write_private
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Request, make_request
from meterseal.crypto.keyfiles import read_key, write_key
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State
from meterseal.meter import load_plan, write_credentials
from meterseal.meter.pairs import AGREEMENT, SIGNATURE, Kind
from meterseal.meter.plan import MeterPlan
from meterseal.security.steps import settle
from tests.authority.changing import CONFIG, Scene

MORE = """
[roles.deputy]
client = 22
logical_devices = [1]
mechanism = "ecdsa"
policy = "authenticated+encrypted"
client_system_title = "4D534C4845530022"
[[roles.deputy.rights]]
objects = ["0.0.40.0.0.255", "0.0.42.0.0.255", "0.0.96.13.0.255"]
attributes = "read write"
methods = "access"
[[roles.deputy.rights]]
objects = ["0.0.43.0.*.255"]
attributes = "read"
methods = "access auth-request enc-request auth-response"

[roles.signing]
client = 23
logical_devices = [1]
mechanism = "gmac"
policy = "authenticated+encrypted"
client_system_title = "4D534C4845530023"
[[roles.signing.rights]]
objects = ["0.0.40.0.0.255", "0.0.42.0.0.255"]
attributes = "read"
methods = "access"
[[roles.signing.rights]]
objects = ["0.0.96.13.0.255"]
attributes = { 2 = "read write sign-request" }
"""
KINDS: dict[str, tuple[Kind, Purpose, Any]] = {
    "sign": (SIGNATURE, Purpose.SIGNATURE, SigningKey),
    "agree": (AGREEMENT, Purpose.AGREEMENT, AgreementKey),
}
CLIENTS = ("manager", "operator", "deputy", "signing")


class PairScene(Scene):
    """As `Scene`: manager and deputy may change keys, and sign on by signature as the operator does.

    The role `signing` signs on by HLS-GMAC and signs what it asks.
    """

    suite = 1
    on = "P-256"

    def plan(self) -> MeterPlan:
        fewer, _, _ = CONFIG.partition("[roles.weak]")  # each role costs a sign-on whenever all are asked
        (self.folder / "meter.toml").write_text(f'{fewer}{MORE}\n[meter]\nwithout = ["installer"]\n')
        with CertificateAuthority.root(self.folder / "ca", "Root", on=self.on, by="test") as made:
            made.certificate  # noqa: B018 - there is one
        trust = self.folder / "ca" / "ca.pem"
        return load_plan(f"suite{self.suite}", self.folder / "meter.toml", trust=trust)

    @property
    def certifier(self) -> Certifier:
        return Certifier(self.folder / "ca", by="test")

    def rotator(self, store: Store) -> Rotator:
        return Rotator(store, Line(line=self.line, timeout=60), self.certifier)

    def credentials(self) -> Credentials:
        """All pairs certified as an enrolment does it, and the file that names them."""
        pairs, certifier, files = self.meter.pairs, self.certifier, {}
        assert pairs is not None
        titles = {role.name: role.client_system_title for role in self._plan.roles}
        for short, (own, purpose, kind) in KINDS.items():
            request = Request(settle(pairs.requesting(own)))
            made = certifier.certificate(request, self.meter.system_title, purpose)
            settle(pairs.taking(made.der))
            for name in CLIENTS:
                key, title = kind.generate(curve(self.on)), titles[name] or b""
                certificate = certifier.certificate(Request(make_request(key, title)), title, purpose)
                settle(pairs.taking(certificate.der))
                files[f"{name}-{short}.key"] = write_key(key)
                files[f"{name}-{short}.pem"] = certificate.to_pem()
        self.meter.pairs_changed()
        path = self.folder / "credentials.toml"
        write_credentials(self.meter, path)
        for name, octets in files.items():
            write_private(path.with_name(f"{path.name}.files") / name, octets)
        return Credentials.load(path)

    # --- what must hold ---------------------------------------------------------------------------

    def certificates(self) -> dict[Slot, Certificate]:
        """What the meter uses of its own, and holds of its clients."""
        pairs, found = self.meter.pairs, {}
        assert pairs is not None
        for short, (own, purpose, _) in KINDS.items():
            certificate = pairs.own(own).certificate
            assert certificate is not None
            found[Slot(self.title, "", f"meter-{short}")] = certificate
            for role in self._plan.roles:
                if role.name in CLIENTS:
                    held = pairs.trust.find(role.client_system_title or b"", purpose)
                    assert held is not None
                    found[Slot(self.title, role.name, f"client-{short}")] = held
        return found

    def opens(self, *but: Slot) -> None:
        """As `Scene.opens`; and of every pair that the meter uses the store has what it takes."""
        super().opens(*but)
        with self.open() as store:
            for slot, certificate in self.certificates().items():
                kept = store.keys.stored(self.title)[slot]
                known = [one for one in kept if store.pairs.certificate(one) == certificate]
                assert known, f"{slot.text}: the certificate of the meter is not stored"
                if not slot.kind.startswith("meter"):
                    assert known[0].record.standing.tried, slot.text
                    kind = KINDS[slot.kind.partition("-")[2]][2]
                    key = read_key(store.keys.opened(known[0]).reveal(), kind)
                    assert key.public == certificate.key

    def settled(self, *but: Slot) -> None:
        """As `Scene.settled`, for pairs too; nobody holds an old certificate."""
        super().settled(*but)
        with self.open() as store:
            for slot, certificate in self.certificates().items():
                active = [one for one in store.keys.slot(slot) if one.state is State.ACTIVE]
                assert len(active) == 1, slot.text
                assert store.pairs.certificate(store.keys.find(active[0].id)) == certificate, slot.text

    def agree(self, role: str, *kinds: str) -> None:
        """From now on keys of these kinds of a role are agreed on."""
        with self.open() as store:
            settings = store.keys.device(self.title).settings
            settings["roles"][role]["agreed"] = list(kinds)
            store.keys.set_settings(self.title, settings)

    def slot(self, kind: str, role: str) -> Slot:
        return slot_of(self.title, role, kind)
