"""Pushes in layers: signed, ciphered for the role's client, sealed for a third party (class 40)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu.services import DataNotification
from meterseal.association import Service
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.errors import ConfigurationError, MetersealError
from meterseal.framing.items import Item
from meterseal.listener import Book, Receiver
from meterseal.meter.objects import Denied
from meterseal.security import (
    AUTHENTICATED,
    ENCRYPTED,
    SIGNED,
    Context,
    SecuritySetup,
    Style,
    protect,
    unprotect,
)
from meterseal.security.context import Counted
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.parameters import Element, elements_value
from meterseal.state import MemoryCounters
from meterseal.utility.session import make_setup
from tests.meter.test_push import Bench

OPERATOR = bytes.fromhex("4D534C4845530002")
UTILITY = bytes.fromhex("4D534C5554490001")
BOTH = AUTHENTICATED | ENCRYPTED
ALWAYS = Validity(datetime(2020, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC))
CURVES = {"suite1": "P-256", "suite2": "P-384"}


def made(folder: Path, text: str, preset: str = "suite1", role: str = "operator") -> Bench:
    return Bench(folder, text, preset=preset, role=role)


def pushed(bench: Bench, number: int = 1) -> list[bytes]:
    """So many pushes, each sealed."""
    for _ in range(number):
        assert bench.call() == 0
    octets = [order.seal() for order in bench.orders[-number:]]
    bench.orders.clear()
    return octets


def taken(receiver: Receiver, octets: bytes) -> Any:
    (one,) = receiver.take([Item((), octets)], "meter")
    return one


# --- for the role's client ------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["suite1", "suite2"])
@pytest.mark.parametrize(("form", "role"), [
    ("identified", "operator"), ("one-pass", "operator"), ("static", "operator"), ("wrapped", "manager"),
])  # fmt: skip
def test_ciphered_and_signed_for_the_client(preset: str, form: str, role: str, tmp_path: Path) -> None:
    bench = made(tmp_path, f'layers = "{form}"\nsigned = true\n', preset, role)
    first, second = pushed(bench, 2)
    assert first[:1] == second[:1] == b"\xdd"
    store = MemoryCounters()
    one = taken(receiver := Receiver(Book(bench.path, store), store), first)
    assert one.error is None and (one.role, one.apdu) == (role, "data-notification"), one.error
    outer, inner = one.layers
    assert (outer["kind"], outer["key"], outer["verified"]) == (CIPHERING, form, True)
    assert (inner["kind"], inner["signed"], inner["verified"]) == (SIGNING, True, True)
    assert outer["transaction_id"] == inner["transaction_id"] and len(outer["transaction_id"]) == 16
    assert isinstance(one.message, DataNotification)
    # Each once, also after a restart of the listener; the next one is taken.
    assert taken(receiver, first).error.kind == "replayed"
    receiver.sync()
    again = Receiver(Book(bench.path, store), store)
    assert taken(again, first).error.kind == "replayed"
    assert taken(again, second).error is None


def test_signed_inside_the_association_s_own_protection(tmp_path: Path) -> None:
    bench = made(tmp_path, "signed = true\n")
    (octets,) = pushed(bench)
    assert octets[:1] == b"\xdb"
    one = taken(bench.receiver, octets)
    assert one.error is None and [layer["kind"] for layer in one.layers] == ["general-glo-ciphering", SIGNING]
    only = Receiver(Book(bench.path, MemoryCounters()), MemoryCounters(), accept=BOTH | SIGNED)
    assert taken(only, octets).error is None


def test_B16_a_listener_that_wants_signatures_refuses_what_has_none(tmp_path: Path) -> None:
    bench = made(tmp_path, "")
    only = Receiver(Book(bench.path, MemoryCounters()), MemoryCounters(), accept=BOTH | SIGNED)
    one = taken(only, pushed(bench)[0])
    assert one.error.kind == "too-weak" and one.plain is None


def test_a_policy_that_wants_signed_responses_signs_pushes(tmp_path: Path) -> None:
    policy = '\n[roles.operator]\npolicy = { request = "authenticated+encrypted", '
    bench = made(tmp_path, policy + 'response = "authenticated+encrypted+signed" }\n')
    one = taken(bench.receiver, pushed(bench)[0])
    assert one.error is None and one.layers[-1]["kind"] == SIGNING


def test_suite_0_ciphers_by_wrapped_keys(tmp_path: Path) -> None:
    bench = made(tmp_path, 'layers = "wrapped"\n', "suite0", "manager")
    one = taken(bench.receiver, pushed(bench)[0])
    assert one.error is None and one.layers[0]["key"] == "wrapped"


def test_B01_B22_every_bit_of_a_push_in_layers(tmp_path: Path) -> None:
    bench = made(tmp_path, 'layers = "static"\nsigned = true\n')
    good = pushed(bench)[0]
    for bit in range(0, 8 * len(good), 5):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        one = taken(bench.receiver, bytes(changed))
        assert one.error is not None and one.plain is None and one.sealed is None
    assert taken(bench.receiver, good).error is None


def test_B17_signed_and_nothing_else_where_anything_is_taken(tmp_path: Path) -> None:
    """No counter orders it: the signature is verified, and its exchange is taken once."""
    bench = made(tmp_path, "signed = true\n")
    setup = next(ring.setup for ring in bench.meter.rings.values() if ring.setup.peer_title == OPERATOR)
    layer = Layer(SIGNING, b"", b"", b"exchange")
    plain = DataNotification(1, b"", Data.of(7, Tag.UNSIGNED)).encode()
    octets = protect(
        Context(setup, setup.peer_title, general=True, serving=True), plain, SIGNED, Style.PLAIN, (layer,)
    )
    assert octets[:1] == b"\xdf"
    anything = Receiver(Book(bench.path, MemoryCounters()), MemoryCounters(), accept=0)
    assert taken(bench.receiver, octets).error.kind == "too-weak"
    forged = taken(anything, octets[:-1] + bytes((octets[-1] ^ 1,)))
    assert forged.error.kind == "forged" and forged.plain is None
    one = taken(anything, octets)
    assert one.error is None and one.plain == plain
    assert [(layer["kind"], layer["verified"]) for layer in one.layers] == [(SIGNING, True)]
    assert taken(anything, octets).error.kind == "replayed"


def test_a_file_of_the_credentials_that_is_no_good_stops_what_needs_it_alone(tmp_path: Path) -> None:
    bench = made(tmp_path, 'layers = "one-pass"\n')
    (layered,) = pushed(bench)
    bench.setup.values[10] = elements_value([])
    (usual,) = pushed(bench)
    next(tmp_path.rglob("operator-agree.key")).write_bytes(b"nothing")
    receiver = Receiver(Book(bench.path, MemoryCounters()), MemoryCounters())
    refused = taken(receiver, layered)
    assert refused.error.kind == "configuration" and refused.plain is None
    assert taken(receiver, usual).error is None


# --- for a third party ----------------------------------------------------------------------------


class Utility:
    """A third party: its key agreement key, certified and known to the meter; the meter's, known to it."""

    def __init__(self, bench: Bench, preset: str = "suite1") -> None:
        assert bench.meter.pairs is not None
        on = curve(CURVES[preset])
        key = AgreementKey.generate(on)
        authority = Authority.root(SigningKey.generate(on), "Utilities", ALWAYS)
        issued = authority.issue(key.public, UTILITY, Purpose.AGREEMENT, ALWAYS)
        bench.meter.pairs.trust.pin(issued)
        ring = next(iter(bench.meter.rings.values()))
        setup = SecuritySetup(ring.setup.suite, UTILITY, ring.setup.own_title)
        setup.agreement = key
        setup.fresh = Counted(setup.fresh.tx, setup.fresh.rx)
        setup.directory = _Known(bench)
        self.context = Context(
            setup, setup.peer_title, general=True, minimum=BOTH, options=frozenset({"ak_in_use"})
        )


class _Known:
    def __init__(self, bench: Bench) -> None:
        self._pairs = bench.meter.pairs

    def verifying_key(self, title: bytes) -> Any:
        return self._own(Purpose.SIGNATURE)

    def introduced(self, title: bytes, certificate: bytes | None) -> Any:
        return self._own(Purpose.SIGNATURE)

    def agreement_point(self, title: bytes) -> Any:
        return self._own(Purpose.AGREEMENT)

    def _own(self, purpose: Purpose) -> Any:
        assert self._pairs is not None
        from meterseal.meter.pairs import AGREEMENT, SIGNATURE

        kind = {Purpose.SIGNATURE: SIGNATURE, Purpose.AGREEMENT: AGREEMENT}[purpose]
        held = self._pairs.own(kind).certificate
        assert isinstance(held, Certificate)
        return held.key


@pytest.mark.parametrize("preset", ["suite1", "suite2"])
@pytest.mark.parametrize("form", ["one-pass", "static"])
def test_what_is_for_a_third_party_passes_the_client_sealed(preset: str, form: str, tmp_path: Path) -> None:
    text = f'layers = "{form}"\nsigned = true\nrecipient = "{UTILITY.hex().upper()}"\n'
    bench = made(tmp_path, text, preset)
    utility = Utility(bench, preset)
    (octets,) = pushed(bench)
    assert octets[:1] == b"\xdb"
    one = taken(bench.receiver, octets)
    assert one.error is None and one.plain is None and one.message is None
    assert one.apdu == CIPHERING and one.sealed is not None
    assert (one.sealed.recipient, one.sealed.originator) == (UTILITY, bench.meter.system_title)
    assert [layer["verified"] for layer in one.layers] == [True, None]
    assert taken(bench.receiver, octets).error.kind == "replayed"
    opened = unprotect(utility.context, one.sealed.octets)
    assert opened.applied == BOTH | SIGNED and opened.origin == bench.meter.system_title
    assert opened.apdu[:1] == b"\x0f" and opened.apdu not in octets
    with pytest.raises(MetersealError):
        unprotect(utility.context, one.sealed.octets)


def test_sealed_and_nothing_around_is_no_push_unless_anything_is(tmp_path: Path) -> None:
    bench = made(tmp_path, f'layers = "static"\nrecipient = "{UTILITY.hex().upper()}"\n')
    Utility(bench)
    one = taken(bench.receiver, pushed(bench)[0])
    bare = one.sealed.octets
    refused = taken(bench.receiver, bare)
    assert refused.error.kind == "too-weak" and refused.sealed is None
    anything = Receiver(Book(bench.path, MemoryCounters()), MemoryCounters(), accept=0)
    assert taken(anything, bare).sealed.recipient == UTILITY


def test_without_its_certificate_nothing_is_sealed_for_a_third_party(tmp_path: Path) -> None:
    bench = made(tmp_path, f'layers = "static"\nrecipient = "{UTILITY.hex().upper()}"\n')
    assert bench.call() == 0
    with pytest.raises(MetersealError, match="certificate"):
        bench.orders[0].seal()


THIRD = """
[third_parties.desk]
system_title = "4D534C5554490001"
{peer}
[[third_parties.desk.rights]]
objects = ["0.0.96.11.1.255", "0.0.25.9.0.255"]
attributes = "read"

[[roles.operator.rights]]   # nobody reads it through this role but this one
objects = ["0.0.96.11.1.255"]
attributes = "read"
for = ["desk"]
"""
WRAPPED = "[third_parties.desk.peer]\nthird_party_wrapped_key = true"


@pytest.mark.parametrize(
    ("preset", "form"), [("suite0", "wrapped"), ("suite1", "one-pass"), ("suite2", "static")]
)
def test_a_third_party_of_the_meter_opens_what_it_may_read(preset: str, form: str, tmp_path: Path) -> None:
    """With its own credentials; what the role may not read at all goes to it alone."""
    text = f'layers = "{form}"\nrecipient = "{UTILITY.hex().upper()}"\n' + (
        "signed = true\n" if form != "wrapped" else ""
    )
    bench = made(tmp_path, text + THIRD.format(peer=WRAPPED if preset == "suite0" else ""), preset)
    (octets,) = pushed(bench)
    one = taken(bench.receiver, octets)
    assert one.error is None and one.sealed is not None and one.plain is None
    credentials = Credentials.load(bench.path)
    third = credentials.third_party("desk")
    setup = make_setup(credentials, third)
    context = Context(setup, setup.peer_title, general=True, minimum=BOTH, options=third.peer | {"ak_in_use"})
    opened = unprotect(context, one.sealed.octets)
    assert opened.applied == (BOTH if form == "wrapped" else BOTH | SIGNED)
    message = apdu.decode(opened.apdu)
    assert isinstance(message, DataNotification)
    name, energy, unit, event, nothing = message.notification_body.value
    assert name == bytes.fromhex("0000190900FF") and event is not None
    assert (energy, unit, nothing) == (None, None, None)  # the utility may not read the register
    with pytest.raises(MetersealError):
        unprotect(context, one.sealed.octets)


# --- what is refused ------------------------------------------------------------------------------


def cipher(form: str = "static", applied: int = BOTH, recipient: bytes = b"", **more: Any) -> Element:
    return Element(
        applied, Layer(CIPHERING, more.get("originator", b""), recipient, form=form), more.get("data", b"")
    )


def signature(recipient: bytes = b"") -> Element:
    return Element(SIGNED, Layer(SIGNING, b"", recipient))


REFUSED: dict[str, list[Element]] = {
    "ciphered and then signed": [cipher(), signature()],
    "signed twice": [signature(), signature()],
    "ciphered twice": [cipher(), cipher()],
    "encrypted and nothing else": [cipher(applied=ENCRYPTED)],
    "for another without encryption": [cipher(applied=AUTHENTICATED, recipient=UTILITY)],
    "under the broadcast key": [cipher("broadcast")],
    "for another under the client's key": [cipher("identified", recipient=UTILITY)],
    "for another under the client's KEK": [cipher("wrapped", recipient=UTILITY)],
    "signed and no more for another": [signature(UTILITY)],
    "signed for one and ciphered for another": [signature(), cipher(recipient=UTILITY)],
    "of another originator": [cipher(originator=UTILITY)],
    "with a key": [cipher("one-pass", data=b"key")],
    "three": [signature(), cipher(), cipher()],
}


@pytest.fixture(scope="module")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return made(tmp_path_factory.mktemp("push"), "")


@pytest.mark.parametrize("name", REFUSED)
def test_E06_parameters_that_are_refused(name: str, writable: Bench) -> None:
    assert writable.do(Service.SET, 10, Data.of(*elements_value(REFUSED[name]))) != 0
    assert writable.setup.values[10][0] == []


def test_parameters_can_be_written(writable: Bench) -> None:
    for elements in ([signature()], [cipher()], [signature(), cipher("one-pass")], []):
        assert writable.do(Service.SET, 10, Data.of(*elements_value(elements))) == 0
    assert taken(writable.receiver, pushed(writable)[0]).layers[0]["kind"] == "general-glo-ciphering"


def test_signatures_and_agreed_keys_are_not_for_suite_0(tmp_path: Path) -> None:
    bench = made(tmp_path, "", "suite0")
    for element in (signature(), cipher("static"), cipher("one-pass")):
        assert bench.do(Service.SET, 10, Data.of(*elements_value([element]))) != 0


@pytest.mark.parametrize(("text", "cause"), [
    ('layers = "pigeon"\n', "layers"),
    ('layers = "static"\nversion = 0\n', "version 0"),
    (f'recipient = "{UTILITY.hex()}"\n', "recipient"),
    ('layers = "static"\nrecipient = "00"\n', "8 octets"),
    ('layers = "identified"\nrecipient = "4D534C5554490001"\n', "others"),
    ("signed = 1\n", "signed"),
])  # fmt: skip
def test_F20_configurations_that_are_refused(text: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigurationError, Denied), match=cause):
        made(tmp_path, text)
