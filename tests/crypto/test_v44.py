"""V.44: the published packets both ways, round trips under any parameters, and what a decoder refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.crypto import v44
from meterseal.crypto.v44 import PACKET, STREAM, Parameters, codes, compress, decompress, encoder
from meterseal.errors import DecodeError, Malformed, Misuse, TooLarge, Truncated
from tests import vectors
from tests.mutate import hammer, mutations, truncations

VALID = vectors.v44("valid")
INVALID = vectors.v44("invalid")


def parameters(row: dict[str, Any]) -> Parameters:
    p = row["params"]
    return Parameters(p["N2"], p["N7"], p["C2_initial"], p["C5_initial"], p["when_full"], p["N8"])


def name(row: dict[str, Any]) -> str:
    return str(row["name"])


@pytest.mark.parametrize("row", VALID, ids=name)
def test_vectors(row: dict[str, Any]) -> None:
    plain, packet = bytes.fromhex(row["plain"]), bytes.fromhex(row["compressed"])
    assert decompress(packet, parameters(row)) == plain
    # Any encoder that numbers strings alike is right; this one makes the very octets of the hardware.
    assert compress(plain, parameters(row)) == packet


@pytest.mark.parametrize("row", INVALID, ids=name)
def test_F13_invalid_vectors(row: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        decompress(bytes.fromhex(row["compressed"]))


# --- round trips ----------------------------------------------------------------------------------

PARAMETERS = st.builds(
    Parameters,
    n2=st.sampled_from([256, 257, 511, 512, 1024, 1525, 65535]),
    n7=st.sampled_from([32, 33, 46, 47, 78, 79, 142, 143, 254, 255]),
    c2=st.sampled_from([3, 6, 7, 8]),
    c5=st.sampled_from([7, 8]),
    when_full=st.just("reinit"),
    n8=st.sampled_from([None, 512, 777, 3072]),
) | st.builds(
    Parameters, n2=st.sampled_from([256, 1024, 1525]), n7=st.integers(32, 255), c5=st.sampled_from([7, 8])
)
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 400)).map(lambda t: t[0] * t[1]),
        st.sampled_from([bytes(range(256)), b"\x06\x00\x00\x00", b"\x02\x04\x09\x0c\x07\xea"]),
    ),
    max_size=12,
)


@given(PIECES, PARAMETERS, st.integers(0, 3))
def test_round_trip(pieces: list[bytes], parameters: Parameters, again: int) -> None:
    data = b"".join(pieces * (1 + again))
    packet = compress(data, parameters)
    assert decompress(packet, parameters, len(data)) == data
    # What a decoder takes may have more codewords than the encoder used, and either rule when full.
    wider = Parameters(65535, parameters.n7, parameters.c2, parameters.c5)
    assert decompress(packet, wider, len(data)) == data
    if data:
        with pytest.raises(TooLarge):
            decompress(packet, parameters, len(data) - 1)


@given(st.integers(0, 2**32), st.integers(2, 4))
def test_round_trip_of_few_letters(seed: int, letters: int) -> None:
    data = bytes(seed >> (7 * i) % 61 & (letters - 1) for i in range(4000))
    for chosen in (PACKET, STREAM, Parameters(256), Parameters(256, when_full="reinit")):
        assert decompress(compress(data, chosen), chosen) == data


def test_a_full_dictionary_freezes_or_begins_anew() -> None:
    data = bytes(i * i % 251 for i in range(30_000)) + bytes(range(256)) * 20
    frozen, anew = Parameters(256), Parameters(256, when_full="reinit")
    assert compress(data, frozen) != compress(data, anew)
    for chosen in (frozen, anew):
        for reader in (frozen, anew, PACKET):
            assert decompress(compress(data, chosen), reader) == data


def test_nothing_is_kept_between_packets() -> None:
    packet = compress(b"ABCABCABC")
    assert compress(b"ABCABCABC") == packet
    with pytest.raises(Malformed):
        decompress(packet + packet)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [10**2, 10**3, 10**4, 10**5, 10**6])
def test_F13_bombs_stop_at_the_limit(factor: int) -> None:
    # A string of n7 octets, then its codeword over and over: the most that a code can make.
    writer = encoder._Writer(PACKET)
    writer.ordinal(0)
    writer.codeword(4)
    writer.extension(codes.length_codes(255)[253])
    for _ in range(factor // 100):
        writer.codeword(5)
    bomb = writer.end()
    size = 3 + 253 + factor // 100 * 255
    if size <= v44.LIMIT:
        assert decompress(bomb) == bytes(size)
    else:
        with pytest.raises(TooLarge):
            decompress(bomb)
    with pytest.raises(TooLarge):
        decompress(bomb, limit=size - 1)
    assert decompress(bomb, limit=size) == bytes(size)


def test_F13_reinit_storm() -> None:
    writer = encoder._Writer(PACKET)
    for _ in range(10_000):
        writer.control(codes.REINIT)
        writer.restart()
    assert decompress(writer.end()) == b""


def test_F13_after_the_end() -> None:
    packet = compress(b"meter")
    for more in (b"\x00", b"\x03", b"\x00" * 9, b"meter meter"):
        with pytest.raises(Malformed):
            decompress(packet + more)
    for cut in range(len(packet)):
        with pytest.raises(Truncated):
            decompress(packet[:cut])


def bits(*fields: tuple[int, int]) -> bytes:
    writer = encoder._Writer(PACKET)
    for value, width in fields:
        writer.put(value, width)
    return writer.end()


@pytest.mark.parametrize(
    "packet",
    [
        bits((0, 1), (65, 7), (1, 1), (5, 6)),  # a codeword above the next
        bits((1, 1), (4, 6)),  # the next one, with nothing before it
        bits((0, 1), (65, 7), (1, 1), (4, 6), (2, 2), (1, 1), (1, 1), (6, 6)),  # ... after an extension
        bits(*[(1 | codes.STEPUP << 1, 7 + n) for n in range(7)]),  # more bits than n2 has
        bits((0, 1), (65, 7), (1, 1), (0, 6)),  # transparent mode
    ],
)
def test_F13_codes_that_cannot_be(packet: bytes) -> None:
    with pytest.raises(Malformed):
        decompress(packet)


def test_F13_an_extension_needs_its_first_octet() -> None:
    """Codeword 4 is written while it is being made; what follows it in the history is not there yet."""
    packet = bits((0, 1), (65, 7), (1, 1), (4, 6), (2, 2), (1, 1))
    # 'A', then 4 = "AA" ends at position 1; position 2 exists: the third A.
    assert decompress(packet) == b"AAAA"


SEEDS = [bytes.fromhex(row["compressed"]) for row in VALID if parameters(row) == PACKET]


def test_F01_F02_mutations() -> None:
    outcomes = hammer(lambda octets: decompress(octets, limit=4096), SEEDS)
    assert outcomes["value"] and outcomes["malformed"] and outcomes["truncated"] and outcomes["too-large"]


def test_F01_every_truncation() -> None:
    for _, cut in truncations(SEEDS):
        with pytest.raises(Truncated):
            decompress(cut)


def test_mutated_plain_octets_round_trip() -> None:
    seeds = [bytes.fromhex(row["plain"]) for row in VALID]
    for data in mutations(seeds, 1_000, 7):
        assert decompress(compress(data)) == data


@pytest.mark.parametrize(
    "wrong",
    [
        {"n2": 255}, {"n2": 65536}, {"n7": 31}, {"n7": 256}, {"c2": 2}, {"c2": 12}, {"c5": 6}, {"c5": 9},
        {"when_full": "stop"}, {"n8": 511, "when_full": "reinit"}, {"n8": 1024},
    ],
)  # fmt: skip
def test_parameters_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        Parameters(**wrong)
