"""Frames that do not open: the typed error and its cause, how far it got, and nothing of what is inside."""

from __future__ import annotations

import json

import pytest

from meterseal.cosem.texts import json_text
from meterseal.credentials import Credentials
from meterseal.probe import Dissection, Keyring, Keys, dissect
from tests.probe import samples
from tests.probe.samples import AK, EK, RING, TITLE, glo, of, sealed
from tests.vectors import vector

GET = bytes.fromhex("C001C100080000010000FF0200")
GLO_GET = bytes.fromhex(vector("gb40-glo-get-sc30")["expected"]["apdu"])
BROADCAST = bytes.fromhex(vector("derived-glo-get-sc70")["expected"]["apdu"])


def failed(found: list[Dissection], kind: str) -> str:
    """The one Dissection is an error of this kind; the text of its cause."""
    (one,) = found
    assert one.error is not None and one.error.kind == kind, one
    shown = json.loads(json_text(one.to_json()))
    assert shown["plain"] is None and shown["value"] is None and shown["apdu"] is None
    assert shown["error"]["type"] == kind
    assert all(layer.get("verified") is None for layer in shown["layers"])
    return str(shown["error"]["message"])


# --- which key is missing, and for which title -----------------------------------------------------


def test_guek_missing() -> None:
    text = failed(dissect(samples.E450_OCTETS), "unknown-key")
    assert "GUEK missing" in text and "4C475A677370B177" in text


def test_layers_as_far_as_it_got() -> None:
    (one,) = dissect(samples.E450_OCTETS)
    assert [layer["kind"] for layer in one.layers] == [
        "hdlc",
        "general-block-transfer",
        "general-glo-ciphering",
    ]
    assert one.layers[2]["invocation_counter"] == 0x00177BCA
    assert one.layers[2]["system_title"] == "4C475A677370B177"


def test_gbek_missing() -> None:
    text = failed(dissect(BROADCAST, Keyring.of(guek=EK, gak=AK, title=TITLE)), "unknown-key")
    assert "GBEK missing" in text and TITLE.hex().upper() in text


def test_dedicated_key_missing() -> None:
    text = failed(
        dissect(of("gosem-ded-get-request"), Keyring.of(guek=EK, gak=AK, title=TITLE)), "unknown-key"
    )
    assert "no dedicated key" in text and "InitiateRequest" in text


def test_gak_not_said() -> None:
    text = failed(dissect(GLO_GET, Keyring.of(guek=EK, title=TITLE)), "unknown-key")
    assert "GAK" in text and TITLE.hex().upper() in text


def test_title_missing() -> None:
    text = failed(dissect(GLO_GET, RING), "unknown-key")
    assert "system title of the client unknown" in text
    text = failed(dissect(of("gosem-ded-get-response"), Keyring.of(dedicated=EK, gak=AK)), "unknown-key")
    assert "system title of the meter unknown" in text


def test_key_missing_in_an_aarq() -> None:
    (one,) = dissect(of("aarq-gosem-ciphered"))
    assert failed([one], "unknown-key").startswith("GUEK missing")
    assert one.layers[0]["kind"] == "glo-initiate-request"


# --- wrong keys --------------------------------------------------------------------------------------


def test_swapped_keys() -> None:
    text = failed(dissect(GLO_GET, Keyring.of(guek=AK, gak=EK, title=TITLE)), "forged")
    assert text.startswith("tag wrong: GAK and GUEK may be swapped")


def test_gak_that_is_not_in_use() -> None:
    text = failed(dissect(sealed(GET, ak=b""), RING), "forged")
    assert "no GAK seems to be in use" in text


def test_gak_in_use_after_all() -> None:
    text = failed(dissect(sealed(GET), Keyring.of(guek=EK, gak=b"")), "forged")
    assert "a GAK in use after all" in text


@pytest.mark.parametrize("guek", [bytes(16), EK[::-1]])
def test_wrong_key(guek: bytes) -> None:
    text = failed(dissect(GLO_GET, Keyring.of(guek=guek, gak=AK, title=TITLE)), "forged")
    assert text.startswith("tag wrong: wrong GUEK or GAK") and TITLE.hex().upper() in text


def test_wrong_title() -> None:
    text = failed(dissect(GLO_GET, Keyring.of(guek=EK, gak=AK, title=b"SOMEBODY")), "forged")
    assert "wrong system title (534F4D45424F4459)" in text


def test_encryption_only_with_a_wrong_key() -> None:
    text = failed(dissect(samples.TIROL, Keyring.of(guek=bytes(16))), "forged")
    assert "only encrypted" in text and "wrong key" in text


def test_encryption_only_with_text_that_makes_no_sense() -> None:
    frame = sealed(bytes.fromhex("C001C10008"), sc=0x20)
    text = failed(dissect(frame, RING), "forged")
    assert "makes no sense" in text
    assert "C1" not in text  # nothing of it, not even where it ends


@pytest.mark.parametrize(
    ("length", "words"), [(15, "15 octets"), (17, "17 octets"), (0, "0 octets"), (32, "suite 0")]
)
def test_key_of_the_wrong_length(length: int, words: str) -> None:
    text = failed(dissect(GLO_GET, Keyring.of(guek=bytes(length), gak=b"", title=TITLE)), "key-length")
    assert words in text and text.startswith("the GUEK has")
    if length:
        text = failed(dissect(GLO_GET, Keyring.of(guek=EK, gak=bytes(length), title=TITLE)), "key-length")
        assert words in text and text.startswith("the GAK has")


def test_a_key_never_follows_the_suite_of_the_frame() -> None:
    """Law 7: neither cut nor filled up; 16 octets under a frame that says suite 2 open nothing."""
    frame = bytearray(sealed(GET))
    frame[frame.index(0x30, 10)] = 0x32
    text = failed(dissect(bytes(frame), RING), "key-length")
    assert "suite 2, whose keys have 32" in text


@pytest.mark.parametrize("sc", [0x33, 0x3F, 0x25])
def test_reserved_suites(sc: int) -> None:
    frame = bytearray(sealed(GET))
    frame[frame.index(0x30, 10)] = sc
    assert "reserved" in failed(dissect(bytes(frame), RING), "unsupported")


@pytest.mark.parametrize(
    ("sc", "kind"),
    [(0x00, "too-weak"), (0x40, "too-weak"), (0xB0, "malformed"), (0xB1, "forged"), (0xA1, "too-weak")],
)
def test_security_controls_that_no_key_makes_right(sc: int, kind: str) -> None:
    frame = bytearray(sealed(GET))
    frame[frame.index(0x30, 10)] = sc
    failed(dissect(bytes(frame), RING), kind)


def test_broadcast_under_a_dedicated_key() -> None:
    frame = bytearray(of("gosem-ded-get-request"))
    frame[2] = 0x70
    failed(dissect(bytes(frame), Keyring.of(dedicated=EK, gbek=EK, gak=AK, title=TITLE)), "malformed")


# --- changed on the way ---------------------------------------------------------------------------------


def test_every_bit_of_a_frame() -> None:
    """B01: no flipped bit of title, security header, ciphertext or tag gives anything away."""
    frame = sealed(GET)
    for bit in range(2 * 8, len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        for one in dissect(bytes(flipped), RING):
            assert one.error is not None, bit
            assert one.plain is None


def test_tag_cut() -> None:
    for length in range(12):
        frame = b"\xc8" + bytes((5 + length,)) + b"\x30\0\0\0\1" + bytes(length)
        failed(dissect(frame, Keyring.of(guek=EK, gak=AK, title=TITLE)), "malformed")


def test_inner_apdu_that_the_outer_tag_does_not_promise() -> None:
    frame = glo(0xC8, bytes.fromhex("C401C1000900"), ic=1, title=TITLE)
    text = failed([_unproved(frame)], "forged")
    assert "does not hold the APDU that its tag promises" in text


@pytest.mark.parametrize("inner", [sealed(GET), of("aarq-ln-nosec"), bytes.fromhex("E0C000010000010F")])
def test_what_may_not_be_inside(inner: bytes) -> None:
    """B10: ciphered in ciphered, ACSE and blocks inside are refused."""
    (one,) = dissect(sealed(inner), RING)
    assert one.error is not None and one.error.kind == "malformed"
    assert one.plain is None


def _unproved(frame: bytes) -> Dissection:
    """What fails behind a verified tag; the layer itself is verified then."""
    (one,) = dissect(frame, Keyring.of(guek=EK, gak=AK, title=TITLE))
    assert one.layers[-1]["verified"] is True
    return Dissection(({**one.layers[-1], "verified": None},), error=one.error)


def test_signing_inside_is_a_layer_that_the_tag_outside_vouches_for() -> None:
    (one,) = dissect(sealed(of("derived-general-signing-length-signed")), RING)
    assert [layer["kind"] for layer in one.layers] == ["general-glo-ciphering", "general-signing"]
    assert [layer["verified"] for layer in one.layers] == [True, None]
    assert one.error is None and "NOT verified" in one.warnings[0]


def test_verified_content_that_makes_no_sense_is_kept_for_a_person() -> None:
    broken = bytes.fromhex("C001C10008")
    (one,) = dissect(sealed(broken), RING)
    assert one.error is not None and one.error.kind == "truncated"
    assert one.plain is None and one.opened == broken


# --- unverified: the one door --------------------------------------------------------------------------


@pytest.mark.parametrize("sc", [0x30, 0x10])
def test_unverified(sc: int) -> None:
    (one,) = dissect(sealed(GET, sc=sc), Keyring.of(guek=EK), unverified=True)
    assert one.error is None and one.plain == GET
    assert one.layers[0]["verified"] is None and one.layers[0]["authenticated"] is True
    assert "NOT verified" in one.warnings[0]


def test_unverified_does_not_open_what_is_known_to_be_wrong() -> None:
    frame = bytearray(sealed(GET))
    frame[-1] ^= 1
    failed(dissect(bytes(frame), RING, unverified=True), "forged")
    failed(dissect(sealed(GET), Keyring.of(guek=bytes(16)), unverified=True), "forged")


def test_F02_nothing_inside_is_no_right_key() -> None:
    failed(dissect(sealed(b""), Keyring.of(guek=EK), unverified=True), "forged")


def test_unverified_still_needs_the_key() -> None:
    failed(dissect(sealed(GET), unverified=True), "unknown-key")


def test_no_tag_needs_no_gak() -> None:
    (one,) = dissect(samples.TIROL, samples.TIROL_RING)
    assert one.error is None and one.warnings == ()


# --- several roles ------------------------------------------------------------------------------------


def credentials() -> Credentials:
    role = {"mechanism": "gmac", "client_system_title": "4D534C4845530001"}
    return Credentials.from_mapping(
        {
            "meter": {"system_title": TITLE.hex()},
            "roles": {
                "operator": role | {"client": 2, "guek": "11" * 16, "gak": "22" * 16},
                "manager": role
                | {
                    "client": 1,
                    "guek": EK.hex(),
                    "gak": AK.hex(),
                    "client_system_title": "4D534C4845530002",
                },
                "public": {"client": 16, "mechanism": "none"},
            },
        }
    )


def test_credentials_give_keys_and_titles() -> None:
    answer = glo(0xCC, bytes.fromhex("C401C1000900"), ic=7, title=TITLE)
    (one,) = dissect(samples.wrapped((1, 1, answer)), Keyring.of_credentials(credentials()))
    assert one.error is None and one.apdu == "get-response-normal"
    assert one.layers[1]["system_title"] == TITLE.hex().upper()
    request = glo(0xC8, GET, ic=7, title=bytes.fromhex("4D534C4845530002"))
    (one,) = dissect(request, Keyring.of_credentials(credentials()))
    assert one.error is None and one.plain == GET


def test_the_cause_is_that_of_the_likeliest_role() -> None:
    request = glo(0xC8, GET, ic=7, title=b"SOMEBODY")
    text = failed(dissect(samples.wrapped((2, 1, request)), Keyring.of_credentials(credentials())), "forged")
    assert "4D534C4845530001" in text  # the operator's title: the frame came from its SAP


def test_keys_do_not_show() -> None:
    ring = Keyring.of_credentials(credentials())
    for text in (repr(ring), str(ring), repr(ring.sets[0]), repr(Keys(guek=EK, gak=AK))):
        assert "1111" not in text and EK.hex() not in text and repr(EK) not in text
