"""Bad input for the APDU decoders: cut, changed, too long, too many (catalogue F, B12, killer inputs)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from meterseal import apdu
from meterseal.apdu import access, acse, ciphered, initiate, lists, services, short_names
from meterseal.codec import data_decode
from meterseal.codec.ber import tlv
from meterseal.codec.budget import Budget
from meterseal.codec.message import Message
from meterseal.errors import DecodeError, Malformed, Truncated, Unsupported
from tests.apdu.shapes import SAMPLES
from tests.mutate import MEMORY_FREE, MEMORY_PER_OCTET, hammer, truncations, watchdog
from tests.vectors import load

Decode = Callable[[bytes], object]


def from_vectors(kind: str, field: str, part: str = "inputs") -> list[bytes]:
    return [bytes.fromhex(row[part][field]) for row in load(kind) if isinstance(row[part].get(field), str)]


PLAIN = [
    octets
    for octets in (
        *from_vectors("unprotect", "plaintext", "expected"),
        *from_vectors("mbus", "plaintext", "expected"),
        *from_vectors("protect", "plaintext"),
    )
    if octets[0] not in apdu.UNDECODED
]
ACSE = from_vectors("acse", "apdu")
CIPHERED = [*from_vectors("unprotect", "apdu"), *from_vectors("protect", "apdu", "expected")]


def samples(*classes: type[Message]) -> list[bytes]:
    """The samples of these declarations, and the vectors that are such messages."""
    ours = [m.encode() for m in SAMPLES if type(m) in classes]
    return ours + [v for v in (*PLAIN, *ACSE) if apdu.message_type(v) in classes]


def of(service: str) -> tuple[type[Message], ...]:
    return tuple(m for m in apdu.MESSAGES if m.__name__.startswith(service))


SEEDS: dict[str, tuple[Decode, list[bytes]]] = {
    "aarq": (acse.Aarq.decode, samples(acse.Aarq)),
    "aare": (acse.Aare.decode, samples(acse.Aare)),
    "release": (apdu.decode, samples(acse.Rlrq, acse.Rlre)),
    "initiate": (apdu.decode, samples(initiate.InitiateRequest, initiate.InitiateResponse)),
    "errors": (
        apdu.decode,
        [b"\xd8\x01\x05", bytes.fromhex("D8010600000007"), *samples(initiate.ConfirmedServiceError)],
    ),
    "get": (apdu.decode, samples(*of("Get"))),
    "set": (apdu.decode, samples(*of("Set"))),
    "action": (apdu.decode, samples(*of("Action"))),
    "data-notification": (apdu.decode, samples(services.DataNotification)),
    "event-notification": (
        apdu.decode,
        samples(services.EventNotificationRequest, services.DataNotificationConfirm),
    ),
    "access": (apdu.decode, samples(access.AccessRequest, access.AccessResponse)),
    "short-names": (
        apdu.decode,
        samples(*(m for m in apdu.MESSAGES if m.__module__ == short_names.__name__)),
    ),
    "result-list": (lists.ResultList.decode, [m.encode() for m in SAMPLES if type(m) is lists.ResultList]),
    "ciphered": (ciphered.parse, CIPHERED),
}

WITH_DATA = {
    "get",
    "set",
    "action",
    "data-notification",
    "event-notification",
    "access",
    "short-names",
    "result-list",
}
"""Decoders of messages that carry Data, whose work is counted."""

# --- F01, F02 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEDS)
def test_core_F01_every_truncation_is_truncated(name: str) -> None:
    decode, seeds = SEEDS[name]
    assert seeds
    for seed, prefix in truncations(seeds):
        decode(seed)
        with pytest.raises(Truncated if prefix[:1] and len(prefix) > 1 else DecodeError):
            decode(prefix)


@pytest.mark.parametrize("name", SEEDS)
def test_core_F02_mutated_inputs_give_values_or_typed_errors(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, seeds = SEEDS[name]
    made: list[Budget] = []

    class Noted(Budget):
        def __init__(self, octets: int) -> None:
            super().__init__(octets)
            made.append(self)

    monkeypatch.setattr(data_decode, "Budget", Noted)

    total = 0

    def work() -> int:
        nonlocal total
        done = sum(budget.work for budget in made)
        total += done
        made.clear()
        return done

    outcomes = hammer(decode, seeds, work=work)
    assert (total > 0) is (name in WITH_DATA)
    assert {"value", "truncated", "malformed"} <= set(outcomes)


@pytest.mark.parametrize("seed", [*PLAIN, *ACSE, *CIPHERED], ids=lambda seed: f"{seed[:3].hex()}-{len(seed)}")
def test_core_F02_every_single_octet_changed(seed: bytes) -> None:
    decode = ciphered.parse if seed[0] in ciphered.FORMS else apdu.decode
    for at in range(min(len(seed), 120)):
        for octet in (0, 1, 0x7F, 0x80, 0x81, 0x84, 0xFF, seed[at] ^ 1, seed[at] ^ 0x80):
            try:
                decode(seed[:at] + bytes((octet,)) + seed[at + 1 :])
            except (DecodeError, Unsupported):
                continue


# --- B12 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEDS)
def test_core_B12_nothing_may_follow(name: str) -> None:
    decode, seeds = SEEDS[name]
    for seed in seeds:
        for count in range(1, 17):
            for octet in (b"\x00", b"\xff"):
                with pytest.raises(DecodeError):
                    decode(seed + octet * count)


def test_core_B12_nothing_may_follow_inside_ber() -> None:
    """Octets behind the fields of the APDU, behind a field's contents, and behind an inner element."""
    fields = {
        "80": "0780",
        "A1": "060760857405080103",
        "A6": "04084D534C4845530001",
        "A9": "020105",
        "8A": "0780",
        "8B": "60857405080205",
        "AC": "80084B35366956616759",
        "BE": "040101",
    }

    def aarq(changed: str = "", more: bytes = b"", behind: bytes = b"") -> bytes:
        parts = [
            tlv(int(tag, 16), bytes.fromhex(value) + (more if tag == changed else b""))
            for tag, value in fields.items()
        ]
        return tlv(0x60, b"".join(parts) + behind)

    acse.Aarq.decode(aarq())
    for count in range(1, 17):
        with pytest.raises(DecodeError):
            acse.Aarq.decode(aarq(behind=b"\0" * count))
        for tag, value in fields.items():
            if len(value) // 2 == 2 or tag == "8B":
                continue  # primitive: what is longer is another value
            with pytest.raises(DecodeError):
                acse.Aarq.decode(aarq(tag, b"\0" * count))


# --- F04, F05, F08: counts and lengths that are not there ---------------------------------------------


def measured(decode: Decode, octets: bytes) -> type[Exception] | None:
    """Decode under the limits of the killer inputs: 1 MB of memory; the time is the watchdog's."""
    with watchdog() as progress:
        progress(octets)
        tracemalloc.start()
        try:
            decode(octets)
            return None
        except (DecodeError, Unsupported) as error:
            return type(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= max(MEMORY_FREE, MEMORY_PER_OCTET * len(octets)), (peak, octets[:40].hex())


LENGTHS = ["81FF", "82FFFF", "83FFFFFF", "847FFFFFFF", "84FFFFFFFF"]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "head",
    [
        "C003C1",  # attributes of a GET with-list
        "C104C1",
        "C10401" + "01" + "0008 0000010000FF 02 00",  # values of a SET with-list
        "C303C1",
        "C403C1",
        "C504C1",
        "C505C1",
        "C703C1",
        "C402C1 01 00000001 00",  # raw-data
        "C103C1 00 00000001",
        "C306C1 00 00000001",
        "0F 00000001",  # date-time
        "0101",  # dedicated key
        "C401C1 00 01",  # an array
        "C401C1 00 02",
        "C401C1 00 09",
        "C401C1 00 13 11",
    ],
)
def test_core_F04_counts_and_lengths_beyond_the_octets(head: str, length: str) -> None:
    octets = bytes.fromhex(head + length)
    for tail in (b"", bytes(40), b"\x01" * 40):
        assert measured(apdu.decode, octets + tail) in (Truncated, Malformed)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", ciphered.FORMS.values(), ids=lambda form: form.name)
def test_core_F08_lengths_of_ciphered_apdus(form: ciphered.Form, length: str) -> None:
    lead = bytes((form.tag,))
    for head in (lead, lead + b"\x08MSL00001", lead + b"\x00"):
        for tail in (b"", bytes(27)):
            assert measured(ciphered.parse, head + bytes.fromhex(length) + tail) in (Truncated, Malformed)


@pytest.mark.parametrize("length", ["80", "85" + "FF" * 5, "88" + "FF" * 8, "FF" + "FF" * 127])
@pytest.mark.parametrize("head", ["C003C1", "C402C101 00000001 00", "C8", "DB", "DB08" + "00" * 8, "0101"])
def test_core_F07_length_octets_that_are_no_length(head: str, length: str) -> None:
    octets = bytes.fromhex(head + length) + bytes(8)
    decode = ciphered.parse if octets[0] in ciphered.FORMS else apdu.decode
    assert measured(decode, octets) is Malformed


def test_core_F04_many_elements_that_are_there() -> None:
    """The largest lists that fit an APDU: memory stays within 64 times the input."""
    for head, element in (
        ("C003C1", "0008 0000010000FF 02 00"),
        ("C505C1", "00"),
        ("C403C1", "0103"),
        ("C403C1", "0000"),
        ("C703C1", "0000"),
        ("C303C1", "0046 000060030AFF 01"),
    ):
        one = bytes.fromhex(element)
        count = 60_000 // len(one)
        octets = bytes.fromhex(head) + b"\x82" + count.to_bytes(2, "big") + one * count
        if head == "C303C1":
            octets += b"\x82" + count.to_bytes(2, "big") + b"\x00" * count
        assert measured(apdu.decode, octets) is None


def test_core_F04_lists_of_compact_arrays_multiply_nothing() -> None:
    """Each value of a list has only the work of its own octets."""
    compact = bytes.fromhex("1302 08 0101 0011 0101 0011 0101 0011 0101 0011".replace(" ", ""))
    for one in (compact, bytes.fromhex("13 01 FFFF 11 01 00"), bytes.fromhex("13 01 0100 00 01 00")):
        octets = bytes.fromhex("C403C1") + b"\x82\x0f\xa0" + (b"\x00" + one) * 4000
        measured(apdu.decode, octets)


KILLERS = {
    "get-request with cut selective access": ("c001c100070100630100ff02010102", apdu.decode),
    "general-ded with a title of 0xED2FAE69": ("dc84ed2fae69" + "00" * 54, ciphered.parse),
    "general-glo with a title of 0x1E308000": ("db841e308000" + "00" * 27, ciphered.parse),
    "array nested 5000 in a response": ("c401c100" + "0101" * 5000 + "00", apdu.decode),
    "structure nested 5000 in a push": ("0f0000000100" + "0201" * 5000 + "00", apdu.decode),
    "array of 2^31-1 in an answer": ("c401c1000184" + "7fffffff" + "00" * 1024, apdu.decode),
    "compact array multiplied": ("c401c100" + "1301ffff01ffff01ffff1608080001020304", apdu.decode),
    "compact array of null": ("c401c100" + "130001aa", apdu.decode),
    "10,000 nested constructed elements": ("60" + "84" + "00009c40" + "a1840000ffff" * 4000, apdu.decode),
}


@pytest.mark.parametrize("name", KILLERS)
def test_core_killer_inputs(name: str) -> None:
    octets, decode = KILLERS[name]
    result = measured(decode, bytes.fromhex(octets))
    assert result is not None
    assert issubclass(result, DecodeError)


def test_core_killer_array_of_a_million_nulls_in_an_answer() -> None:
    def decode(octets: bytes) -> object:
        return apdu.decode(octets)

    head = bytes.fromhex("C401C1000183") + (1_000_000).to_bytes(3, "big")
    measured(decode, head + bytes(1_000_000))


def chunks() -> Iterator[bytes]:
    """What no generator thinks of: nothing, one octet repeated, and all tags alone."""
    yield b""
    for tag in range(256):
        for count in (1, 2, 3, 16, 300):
            yield bytes((tag,)) * count


def test_core_F02_dull_inputs() -> None:
    for octets in chunks():
        for decode in (apdu.decode, ciphered.parse, acse.Aarq.decode, lists.OutcomeList.decode):
            try:
                decode(octets)
            except (DecodeError, Unsupported):
                continue
