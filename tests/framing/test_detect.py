"""Recognition: what kind captured octets are, and everything that is inside them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from meterseal.crypto.gcm import GcmKey
from meterseal.errors import DecodeError, Malformed, TooLarge, Truncated
from meterseal.framing import gateway, gbt, hdlc, mbus, wrapper
from meterseal.framing.bounds import Budget
from meterseal.framing.capture import MAX_OPEN
from meterseal.framing.detect import APDU, DATA, LINK, P1_TELEGRAM, Item, Layer, detect, unframe
from meterseal.framing.gateway import Prefix
from tests.framing.captures import APDU as GET
from tests.framing.captures import (
    CLIENT,
    E450,
    E450_KEYS,
    EVERYTHING,
    LONG_APDU,
    MBUS_FRAMES,
    P1_OLD_TEXT,
    SERVER,
    gbt_blocks,
    hdlc_segments,
    p1_ciphered,
    p1_telegram,
)
from tests.mutate import hammer, mutations, truncations
from tests.vectors import load, vector

LONG = LONG_APDU
PREFIX = Prefix(True, 0, b"12345678")
PREFIXED = gateway.encode(PREFIX, GET)
PREFIXED_BLOCKS = [gateway.encode(PREFIX, block) for block in gbt_blocks(LONG)]


def only(octets: bytes, **options: object) -> Item:
    """The one thing that `octets` are."""
    items = unframe(octets, **options)  # type: ignore[arg-type]
    assert len(items) == 1 and items[0].error is None, items
    return items[0]


def failed(octets: bytes, **options: object) -> DecodeError:
    """Why reading ended."""
    error = unframe(octets, **options)[-1].error  # type: ignore[arg-type]
    assert error is not None
    return error


def kinds(item: Item) -> list[str]:
    return [layer.kind for layer in item.layers]


# --- captures ------------------------------------------------------------------------------------


def test_recorded_blocks_in_hdlc_are_one_apdu_whose_tag_verifies() -> None:
    item = only(b"".join(E450))
    assert item.layers == (
        Layer(
            "hdlc",
            {
                "source": 1,
                "destination": 103,
                "destination_lower": 127,
                "control": "UI",
                "llc": "response",
                "frames": 3,
            },
        ),
        Layer("general-block-transfer", {"blocks": 3}),
    )
    key = GcmKey(bytes.fromhex(E450_KEYS["ek"]), bytes.fromhex(E450_KEYS["ak"]))
    iv = bytes.fromhex(E450_KEYS["system_title"] + E450_KEYS["ic"])
    assert (
        item.payload[:18].hex().upper()
        == "DB08" + E450_KEYS["system_title"] + "820103" + "30" + E450_KEYS["ic"]
    )
    plain = key.open(0x30, iv, item.payload[18:])
    assert plain.hex().upper().startswith("0F00177BCA0C07E602150111251EFF800000022109")


def test_recorded_push_over_mbus() -> None:
    row = vector("tirol-push")
    item = only(b"".join(MBUS_FRAMES))
    assert item.layers == (Layer("m-bus", {"source": 1, "destination": 0x67, "address": 0xFF, "frames": 2}),)
    key = GcmKey(bytes.fromhex(row["inputs"]["ek"]))
    title, counter = item.payload[2:10], item.payload[14:18]
    assert (
        key.open(item.payload[13], title + counter, item.payload[18:]).hex().upper()
        == row["expected"]["plaintext"]
    )


@pytest.mark.parametrize("row", load("hdlc"), ids=lambda row: row["id"])
def test_hdlc_vectors(row: dict[str, dict[str, str]]) -> None:
    octets = bytes.fromhex(row["inputs"]["frame"])
    if not row["inputs"]["format3"]:
        assert isinstance(failed(octets), Malformed)
        return
    item = only(octets)
    information = bytes.fromhex(row["expected"].get("information", ""))
    assert kinds(item) == ["hdlc"]
    assert item.payload == hdlc.strip_llc(information)
    assert item.kind == (APDU if hdlc.llc(information) else LINK)


@pytest.mark.parametrize("row", load("wrapper"), ids=lambda row: row["id"])
def test_wrapper_vectors(row: dict[str, dict[str, str]]) -> None:
    item = only(bytes.fromhex(row["inputs"]["wpdu"]))
    expected = row["expected"]
    assert item.layers == (
        Layer("wrapper", {"source": expected["source"], "destination": expected["destination"]}),
    )
    assert item.payload.hex().upper() == expected["apdu"]


@pytest.mark.parametrize("kind", ["acse", "general_ciphering", "general_signing", "access", "unprotect"])
def test_bare_apdus_of_all_vectors(kind: str) -> None:
    for row in load(kind):
        octets = bytes.fromhex(row["inputs"]["apdu"])
        assert only(octets) == Item((), octets, APDU), row["id"]


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "kind", "inner"),
    [
        (hdlc.COMMAND + GET, "llc", GET),
        (hdlc.RESPONSE + GET, "llc", GET),
        (gateway.encode(PREFIX, GET), "gateway", GET),
        (wrapper.encode(16, 1, gateway.encode(PREFIX, GET)), "wrapper", GET),
        (b"".join(gbt_blocks(LONG)), "general-block-transfer", LONG),
        (hdlc.encode(hdlc.Frame(SERVER, CLIENT, 0x10, hdlc.COMMAND + PREFIXED)), "hdlc", GET),
        (hdlc.COMMAND + gateway.encode(PREFIX, GET), "llc", GET),
        (b"".join(hdlc_segments(LONG)), "hdlc", LONG),
        (b"".join(wrapper.encode(1, 2, block) for block in gbt_blocks(LONG)), "wrapper", LONG),
        (b"".join(wrapper.encode(1, 2, block) for block in PREFIXED_BLOCKS), "wrapper", LONG),
        (b"".join(frame for block in gbt_blocks(LONG, 500) for frame in mbus.encode(block)), "m-bus", LONG),
        (GET, APDU, GET),
    ],
)  # fmt: skip
def test_layers_come_off_from_the_outside_in(octets: bytes, kind: str, inner: bytes) -> None:
    item = only(octets)
    assert item.payload == inner
    assert (kinds(item) or [item.kind])[0] == kind == detect(octets)


def test_what_the_layers_tell() -> None:
    item = only(wrapper.encode(16, 1, gateway.encode(PREFIX, GET)))
    assert item.layers[1] == Layer(
        "gateway", {"direction": "request", "network": 0, "address": b"12345678".hex()}
    )
    answer = only(gateway.encode(PREFIX.answer(), GET))
    assert answer.layers[0].fields["direction"] == "response"
    blocks = only(b"".join(wrapper.encode(1, 2, block) for block in PREFIXED_BLOCKS))
    assert kinds(blocks) == ["wrapper", "gateway", "general-block-transfer"]
    assert blocks.layers[0].fields["frames"] == blocks.layers[2].fields["blocks"] == 9


def test_several_frames_of_several_kinds() -> None:
    parts = [
        E450[0],
        *E450[1:],
        *MBUS_FRAMES,
        wrapper.encode(1, 16, GET),
        p1_telegram(),
        b"\r\n",
        P1_OLD_TEXT,
    ]
    items = unframe(b"".join(parts))
    assert [(kinds(item)[0], item.kind) for item in items] == [
        ("hdlc", APDU),
        ("m-bus", APDU),
        ("wrapper", APDU),
        ("p1", P1_TELEGRAM),
        ("p1", P1_TELEGRAM),
    ]
    assert items[3].layers[0].fields == {"identification": "XXX5TESTMETER", "checked": True}


def test_flags_may_be_shared_or_doubled_and_frames_without_flags_stand_alone() -> None:
    frames = hdlc_segments(LONG)
    bare = [frame.strip(b"\x7e") for frame in frames]
    for octets in (
        b"\x7e" + b"\x7e".join(bare) + b"\x7e",
        b"\x7e\x7e".join([b"", *bare, b"\x7e"]),
        b"".join(bare),
        b"\x7e".join(bare[:1]) + b"".join(frames[1:]),
    ):
        assert only(octets).payload == LONG


def test_two_parties_may_send_segments_at_once() -> None:
    other = [
        hdlc.encode(hdlc.decode(octets)._replace(destination=hdlc.Address(2)))
        for octets in hdlc_segments(LONG)
    ]
    mixed = [frame for pair in zip(hdlc_segments(LONG), other, strict=True) for frame in pair]
    assert [item.payload for item in unframe(b"".join(mixed))] == [LONG, LONG]


def test_frames_without_an_apdu_are_told() -> None:
    octets = hdlc.encode(hdlc.Frame(SERVER, CLIENT, 0x93)) + b"\xe5" + bytes.fromhex("1040FF3F16")
    assert [(kinds(item), item.kind) for item in unframe(octets)] == [
        (["hdlc"], LINK),
        (["m-bus"], LINK),
        (["m-bus"], LINK),
    ]
    other_mbus = only(bytes.fromhex("6805056808017A00008316"))
    assert (other_mbus.kind, other_mbus.payload) == (LINK, b"\x00\x00")
    unknown_control = only(hdlc.encode(hdlc.Frame(SERVER, CLIENT, 0x0B, b"data")))
    assert unknown_control.layers[0].fields["control"] == "0B"


def test_acknowledgements_between_the_blocks_of_a_transfer() -> None:
    """A confirmed exchange with recovery of block 3 (more 2), both directions as captured on one line."""
    server = [gbt.encode(gbt.Block(n, bytes((0xC4, n)) * 5, n == 4, False, 1)) for n in (1, 2, 4, 3)]
    client = [gbt.encode(gbt.Block(n, b"", True, False, 3, n)) for n in (1, 2, 3)]
    octets = b""
    for number, block in enumerate(server):
        octets += wrapper.encode(1, 16, block)
        if number < len(client):
            octets += wrapper.encode(16, 1, client[number])
    items = unframe(octets)
    assert [item.kind for item in items] == [LINK, LINK, LINK, APDU]
    assert items[0].layers[1].fields == {"acknowledged": 1}
    assert items[-1].payload == b"".join(bytes((0xC4, n)) * 5 for n in (1, 2, 3, 4))
    assert items[-1].layers[0].fields["frames"] == 4


def test_several_ciphered_p1_telegrams_and_a_single_one() -> None:
    assert [item.payload for item in unframe(p1_ciphered() + p1_ciphered(99))] == [
        p1_ciphered(),
        p1_ciphered(99),
    ]
    assert only(p1_ciphered()).payload == p1_ciphered()
    assert (
        only(p1_ciphered() + b"\x00").payload == p1_ciphered() + b"\x00"
    )  # its own parser says what is wrong


# --- doubt ----------------------------------------------------------------------------------------


def test_the_caller_says_what_parses_where_the_tag_leaves_a_choice() -> None:
    octets = bytes.fromhex("0F00")
    assert only(octets).kind == APDU
    assert only(octets, is_apdu=lambda found: False).kind == DATA
    assert only(octets, is_apdu=lambda found: found == octets).kind == APDU
    assert only(bytes.fromhex("020109010A")).kind == DATA
    assert only(GET, is_apdu=lambda found: False).kind == APDU  # this tag is no Data


def test_two_candidates_the_one_that_consumes_everything_wins() -> None:
    confirm = bytes.fromhex("100000000100")
    assert only(confirm) == Item((), confirm, APDU)
    assert only(bytes.fromhex("1040FF3F16")).layers[0].kind == "m-bus"
    both = failed(confirm, is_apdu=lambda found: False)
    assert isinstance(both, Malformed) and "16 at its end" in str(both)


@pytest.mark.parametrize(
    ("octets", "error", "cause"),
    [
        (b"", Truncated, "nothing"),
        (b"\x99\x98", Malformed, "begins with 99"),
        (E450[0], Truncated, "block 2 is missing"),
        (E450[0] + E450[2], Malformed, "block 2 is missing, 3 came"),
        (MBUS_FRAMES[0], Truncated, "last segment"),
        (MBUS_FRAMES[1], Malformed, "segment 0 is missing"),
        (b"".join(hdlc_segments(LONG)[:-1]), Truncated, "last segment"),
        (b"".join(hdlc_segments(LONG)[::2]), Malformed, r"N\(S\) 1 is missing"),
        (E450[0][:-1], Truncated, "139 octets and a flag"),
        (b"".join(E450) + b"\x99", Malformed, "1 octets after the last frame"),
        (b"".join(gbt_blocks(LONG)[:2]), Truncated, "block 3 is missing"),
        (wrapper.encode(1, 1, b"\x99"), Malformed, "begins with 99"),
        (wrapper.encode(1, 1, gateway.encode(PREFIX, GET)[:5]), Truncated, "gateway"),
        (b"\xe6\xe6\x00", Truncated, "gateway"),
        (hdlc.encode(hdlc.Frame(CLIENT, SERVER, 0x13, hdlc.RESPONSE)), Truncated, "without an APDU"),
    ],
)  # fmt: skip
def test_why_reading_ended(octets: bytes, error: type[DecodeError], cause: str) -> None:
    assert isinstance(failed(octets), error)
    with pytest.raises(error, match=cause):
        raise failed(octets)


def test_what_came_before_the_error_stays() -> None:
    items = unframe(wrapper.encode(1, 16, GET) + wrapper.encode(1, 16, GET)[:-1])
    assert [(item.payload, item.error is None) for item in items] == [(GET, True), (b"", False)]
    broken = unframe(E450[0] + E450[2])
    assert [layer.kind for layer in broken[-1].layers] == ["hdlc"]


def test_detect_raises_what_is_wrong_with_the_first_frame() -> None:
    with pytest.raises(Truncated):
        detect(E450[0][:-1])
    assert detect(b"".join(E450)) == "hdlc"
    assert detect(b"\x02\x01\x00") == DATA


def test_the_option_for_long_mbus_frames() -> None:
    body = bytes((0x53, 0xFF, 0x10, 1, 0x67, 0xDB)) + bytes(251)
    octets = bytes((0x68, 1, 1, 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))
    assert isinstance(failed(octets), Malformed)
    assert len(only(octets, length_modulo_256=True).payload) == 252


# --- bounds -----------------------------------------------------------------------------------------


def test_F11_joined_apdus_are_capped() -> None:
    assert isinstance(failed(b"".join(hdlc_segments(LONG)), limit=200), TooLarge)
    assert isinstance(failed(b"".join(gbt_blocks(LONG)), limit=200), TooLarge)


def test_F12_apdus_that_begin_and_never_end_are_capped() -> None:
    begun = [
        hdlc.encode(hdlc.Frame(hdlc.Address(number), SERVER, 0x13, b"\xc4", True))
        for number in range(1, MAX_OPEN + 2)
    ]
    assert isinstance(failed(b"".join(begun)), TooLarge)
    transfers = [wrapper.encode(number, 1, gbt_blocks(LONG)[0]) for number in range(MAX_OPEN + 1)]
    assert isinstance(failed(b"".join(transfers)), TooLarge)


def test_F16_frames_in_one_capture_are_capped() -> None:
    items = unframe(b"\xe5" * 70_000)
    assert len(items) == 65_537 and isinstance(items[-1].error, TooLarge)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        wrapper.encode(1, 1, b"\xc4"),
        hdlc.encode(hdlc.Frame(CLIENT, hdlc.Address(1), 0x11))[:-1],
        hdlc.encode(hdlc.Frame(CLIENT, hdlc.Address(1), 0x13, b"\xc4"))[:-1],
        b"/ABC5\n!",
        b"\xe5",
        gbt.encode(gbt.Block(1, b"\xc4", True)) + gbt.encode(gbt.Block(1, b"\xc5", True)),
        mbus.encode(b"\xc4")[0],
        p1_ciphered(17),
    ],
)
def test_F02_memory_of_many_small_frames(unit: bytes) -> None:
    octets = unit * (100_000 // len(unit)) + (b"\x7e" if unit[0] == 0x7E else b"")
    tracemalloc.start()
    items = unframe(octets)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(items) > 1000
    assert peak <= 64 * len(octets) + (1 << 20)


def test_F01_every_truncation_is_typed() -> None:
    for _, prefix in truncations(EVERYTHING):
        items = unframe(prefix)
        assert all(item.error is None for item in items[:-1])
        assert items[-1].error is None or not items[-1].payload


def even(octets: bytes) -> bool:
    return len(octets) % 2 == 0


@pytest.mark.slow
@pytest.mark.parametrize("is_apdu", [None, even], ids=["by-tag", "asked"])
def test_F02_mutated_captures(is_apdu: Callable[[bytes], bool] | None) -> None:
    def decode(octets: bytes) -> None:
        error = unframe(octets, is_apdu, limit=4096)[-1].error
        if error is not None:
            raise error

    outcomes = hammer(decode, EVERYTHING, count=100_000 if is_apdu else 20_000)
    assert {"value", "truncated", "malformed"} <= set(outcomes)


def test_a_budget_ends() -> None:
    budget = Budget(10)
    budget.spend(104)
    assert not budget.affords(1)
    with pytest.raises(TooLarge):
        budget.spend(1)
    budget.grant(1)
    budget.spend(4)
    assert budget.spent == budget.allowed == 108


def test_work_is_bounded() -> None:
    spent: list[int] = []

    def counting(found: bytes) -> bool:
        spent.append(len(found))
        return False

    for octets in mutations(EVERYTHING, 5_000, 7):
        spent.clear()
        unframe(octets, counting)
        assert sum(spent) <= 4 * len(octets) + 64
