"""Published vectors of suite 0 (and symmetric ones of suite 1) through the dissection, origin in the name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meterseal.apdu import ciphered
from meterseal.apdu.services import DataNotification
from meterseal.credentials import Credentials, MeterCredentials, RoleCredentials
from meterseal.crypto import AgreementKey, AgreementPoint, GcmKey, VerifyingKey, curve
from meterseal.errors import Forged, UnknownKey
from meterseal.probe import Dissection, Keyring, dissect, readings
from meterseal.probe.curves import Curves
from meterseal.probe.keyring import Keys
from meterseal.security import Style, protect
from meterseal.security.packing import COMPRESSION, parameters_of
from tests.framing.captures import p1_telegram
from tests.probe import samples
from tests.security.parties import ALL, BOTH, METER, both, by, ciphering
from tests.vectors import load, vector

Row = dict[str, Any]


def ids(row: Row) -> str:
    return f"{row['origin']}-{row['id']}"


def octets(row: Row, name: str) -> bytes | None:
    text = row["inputs"].get(name)
    return None if text is None else bytes.fromhex(text)


def ring(row: Row, apdu: bytes) -> Keyring:
    """The vector's keys under the name that the frame asks for."""
    keys: dict[str, bytes | None] = {"gak": octets(row, "ak"), "title": octets(row, "system_title")}
    if apdu[0] == 0xDC or 0xD0 <= apdu[0] <= 0xD7:
        return Keyring.of(dedicated=octets(row, "ek"), **keys)
    if row["inputs"].get("sc", "")[:1] in ("5", "6", "7"):
        return Keyring.of(gbek=octets(row, "ek"), **keys)
    return Keyring.of(guek=octets(row, "ek"), **keys)


def only(found: list[Dissection]) -> Dissection:
    assert len(found) == 1
    assert found[0].error is None, found[0].error
    return found[0]


def protects(row: Row, layer: dict[str, Any], apdu: bytes) -> None:
    """The layer says what the security control octet says."""
    sc = ciphered.parse(apdu).sc
    assert layer["kind"] == ciphered.FORMS[apdu[0]].name
    assert layer["suite"] == sc & 0x0F
    assert layer["authenticated"] is bool(sc & 0x10)
    assert layer["encrypted"] is bool(sc & 0x20)
    assert layer["broadcast"] is bool(sc & 0x40)
    assert layer["signed"] is False and layer["compressed"] is False
    assert layer["verified"] is (True if sc & 0x10 else None)


@pytest.mark.parametrize("row", load("protect"), ids=ids)
def test_protect(row: Row) -> None:
    apdu = bytes.fromhex(row["expected"]["apdu"])
    found = only(dissect(apdu, ring(row, apdu)))
    assert found.plain == octets(row, "plaintext")
    (layer,) = found.layers
    protects(row, layer, apdu)
    assert layer["system_title"] == row["inputs"]["system_title"]
    assert layer["invocation_counter"] == int(row["inputs"]["ic"], 16)


@pytest.mark.parametrize("row", load("unprotect"), ids=ids)
def test_unprotect(row: Row) -> None:
    apdu = octets(row, "apdu") or b""
    found = only(dissect(apdu, ring(row, apdu)))
    assert found.plain == bytes.fromhex(row["expected"]["plaintext"])
    protects(row, found.layers[0], apdu)


@pytest.mark.parametrize("row", load("mbus"), ids=ids)
def test_mbus(row: Row) -> None:
    frames = b"".join(bytes.fromhex(frame) for frame in row["inputs"]["frames"])
    found = only(dissect(frames, Keyring.of(guek=octets(row, "ek"))))
    assert found.plain == bytes.fromhex(row["expected"]["plaintext"])
    assert [layer["kind"] for layer in found.layers] == ["m-bus", "general-glo-ciphering"]
    assert found.layers[0]["frames"] == len(row["inputs"]["frames"])
    assert found.layers[1]["verified"] is None
    assert found.apdu == "data-notification"


@pytest.mark.parametrize("row", load("wrapper"), ids=ids)
def test_wrapper(row: Row) -> None:
    keys = vector("u9n-general-glo-datanotification")["inputs"]
    found = only(
        dissect(
            octets(row, "wpdu") or b"",
            Keyring.of(guek=bytes.fromhex(keys["ek"]), gak=bytes.fromhex(keys["ak"])),
        )
    )
    outer, *inner = found.layers
    assert outer == {
        "kind": "wrapper",
        "source": row["expected"]["source"],
        "destination": row["expected"]["destination"],
    }
    if not inner:
        assert found.plain == bytes.fromhex(row["expected"]["apdu"])
    else:
        assert inner[0]["verified"] is True


ACSE_NAMES = {"60": "aarq", "61": "aare", "62": "rlrq", "63": "rlre"}


@pytest.mark.parametrize("row", load("acse"), ids=ids)
def test_acse(row: Row) -> None:
    apdu = octets(row, "apdu") or b""
    gosem = row["id"].endswith("gosem-ciphered")
    keys = samples.GOSEM_RING if gosem else Keyring.of(guek=samples.EK, gak=samples.AK, title=samples.TITLE)
    found = only(dissect(apdu, keys))
    assert found.apdu == ACSE_NAMES[row["expected"]["tag"]]
    assert found.plain == apdu  # the AARQ itself; what was inside is under user_information
    inside = found.value["user_information"]
    fields = dict(row["expected"]["fields"])
    if "BE" not in fields:
        assert inside is None and found.layers == ()
        return
    carried = bytes.fromhex(fields["BE"])[2:]
    if carried[0] in ciphered.FORMS:
        protects(row, found.layers[0], carried)
        assert ciphered.FORMS[carried[0]].name == f"glo-{inside['apdu']}"
    else:
        assert found.layers == ()
    expected = {"aarq": "initiate-request", "rlrq": "initiate-request"}.get(found.apdu or "")
    assert inside["apdu"] in {expected or "initiate-response", "confirmed-service-error"}


@pytest.mark.parametrize("row", load("hdlc"), ids=ids)
def test_hdlc(row: Row) -> None:
    (found,) = dissect(octets(row, "frame") or b"")
    information = row["expected"].get("information", "")
    if not row["inputs"]["format3"]:
        assert found.error is not None and found.error.kind == "malformed"
        return
    assert found.error is None
    assert found.layers[0]["kind"] == "hdlc"
    if information.startswith(("E6E600", "E6E700")):
        assert found.plain == bytes.fromhex(information)[3:]
        assert found.layers[0]["llc"] == ("command" if information.startswith("E6E600") else "response")
    else:
        assert found.apdu is None and found.is_link_only


P256 = curve("P-256")
CLIENT, SERVER = bytes.fromhex("4D4D4D0000BC614E"), bytes.fromhex("4D4D4D0000000001")
BROKER, DEVICE = bytes.fromhex("123456789ABCDEF0"), bytes.fromhex("FFFFFFFFFFFFFFFE")


def curves() -> Curves:
    """What the sheets print of the keys of both ends, as somebody who holds the recipients' has them."""
    one_pass, static = vector("gbC2-1e1s-ecdh-request-v")["inputs"], vector("gbC3-0e2s-ecdh")["inputs"]
    signs, gbcs = vector("gbC2-1e1s-sign-request")["inputs"], vector("gbcs184-ecdh")["inputs"]
    broker = vector("gbcs184-signed")["inputs"]["public"]
    return Curves(
        {
            SERVER: AgreementKey(P256, bytes.fromhex(one_pass["private"])),
            DEVICE: AgreementKey(P256, bytes.fromhex(gbcs["private"])),
        },
        {
            CLIENT: AgreementPoint(P256, bytes.fromhex(static["public"])),
            BROKER: AgreementPoint(P256, bytes.fromhex(gbcs["peer_public"])),
        },
        {
            CLIENT: VerifyingKey(P256, bytes.fromhex(signs["public"])),
            BROKER: VerifyingKey(P256, bytes.fromhex(broker)),
        },
    )


def suite_1(row: Row) -> bool:
    return row["expected"].get("key_info_choice") == 2 or "gbcs" in row["id"]


GBCS = frozenset({"algorithm_id", "ak_in_use", "empty_header_fields"})


def of_layers(row: Row) -> Keyring:
    """Curve keys for all; the GUEK only where key-info says that it is the GUEK's."""
    identified = row["expected"].get("key_info_choice", 0) == 0 and "gbcs" not in row["id"]
    options = GBCS if "gbcs" in row["id"] else frozenset()
    guek = octets(row, "ek") if identified else bytes(16)
    return Keyring((Keys(guek=guek, gak=octets(row, "ak"), curves=curves(), options=options),))


@pytest.mark.parametrize("row", load("general_ciphering"), ids=ids)
def test_general_ciphering(row: Row) -> None:
    (found,) = dissect(octets(row, "apdu") or b"", of_layers(row))
    outer = found.layers[0]
    assert outer["kind"] == "general-ciphering"
    if not row["verified"]:
        assert isinstance(found.error, Forged) and outer["verified"] is None and found.plain is None
        return
    assert found.error is None, found.error
    assert outer["verified"] is True
    assert outer["suite"] == (1 if suite_1(row) else 0)
    plain = bytes.fromhex(row["expected"]["plaintext"])
    if plain[0] == 0xDF:
        signed = found.layers[1]
        assert (signed["kind"], signed["signed"], signed["verified"]) == ("general-signing", True, True)
        assert (outer["key"], signed["system_title"]) == ("bare", BROKER.hex().upper())
        plain = bytes.fromhex(vector("gbcs184-signed")["expected"]["content"])
    else:
        assert (outer["system_title"], outer["recipient"]) == (CLIENT.hex().upper(), SERVER.hex().upper())
        assert outer["transaction_id"] == row["expected"]["transaction_id"]
    assert found.plain == plain


@pytest.mark.parametrize("row", load("general_signing"), ids=ids)
def test_general_signing(row: Row) -> None:
    apdu = octets(row, "apdu") or b""
    (found,) = dissect(apdu, Keyring((Keys(curves=curves()),)))
    assert found.error is None and found.plain == bytes.fromhex(row["expected"]["content"])
    (layer,) = found.layers
    assert (layer["kind"], layer["suite"], layer["verified"]) == ("general-signing", 1, True)
    (changed,) = dissect(apdu[:-1] + bytes((apdu[-1] ^ 1,)), Keyring((Keys(curves=curves()),)))
    assert isinstance(changed.error, Forged) and changed.plain is None
    # Without the signer's key nothing proves anything: refused, or shown as unproved to who asks for that.
    (unknown,) = dissect(apdu)
    assert isinstance(unknown.error, UnknownKey) and unknown.layers[0]["verified"] is None
    (unproved,) = dissect(apdu, unverified=True)
    assert unproved.plain == found.plain and unproved.layers[0]["verified"] is None
    assert "NOT verified" in unproved.warnings[0]


@pytest.mark.parametrize("row", load("general_ciphering"), ids=ids)
def test_layers_without_their_keys(row: Row) -> None:
    """The cause names the key that is missing."""
    (found,) = dissect(octets(row, "apdu") or b"")
    assert isinstance(found.error, UnknownKey)
    assert found.layers[0]["kind"] == "general-ciphering" and found.plain is None


def test_a_wrapped_key() -> None:
    ek, ak, kek = bytes(range(16)), bytes(range(0x20, 0x30)), bytes(range(0x60, 0x70))
    client, _ = both(1)
    sent = by(client, "wrapped", ALL)
    ring = Keyring((Keys(guek=ek, gak=ak, kek=kek),))
    (found,) = dissect(sent, ring)
    assert found.error is None and [layer["verified"] for layer in found.layers] == [True, None]
    for keys in (Keys(guek=ek, gak=ak), Keys(guek=ek, gak=ak, kek=bytes(16))):
        (found,) = dissect(sent, Keyring((keys,)))
        assert found.error is not None and found.plain is None


@pytest.mark.parametrize("style", [Style.GENERAL_GLO, Style.LAYERED])
def test_compressed(style: Style) -> None:
    long = bytes.fromhex("C401C100098180") + bytes(0x80)
    for name, parameters in COMPRESSION.items():
        client, _ = both(1, compression=parameters)
        sent = protect(client, long, BOTH, style, (ciphering(),) if style is Style.LAYERED else ())
        assert len(sent) < 100, name
        (found,) = dissect(sent, Keyring.of(guek=bytes(range(16)), gak=bytes(range(0x20, 0x30))))
        assert found.error is None and found.plain == long
        assert found.layers[0]["compressed"] is True and found.layers[0]["verified"] is True
        (unproved,) = dissect(sent, Keyring.of(guek=bytes(range(16))), unverified=True)
        assert unproved.plain == long and unproved.layers[0]["verified"] is None


def test_compressed_with_the_parameters_of_the_credentials() -> None:
    long, said = bytes.fromhex("C401C100098180") + bytes(0x80), "packet-default n7=46 c2=7 c5=8"
    client, _ = both(1, compression=parameters_of(said))
    meter = MeterCredentials(url="tcp://127.0.0.1:4059", suite=1, system_title=METER)
    role = RoleCredentials(
        client=1,
        mechanism="gmac",
        client_system_title=client.setup.own_title,
        guek=bytes(range(16)),
        gak=bytes(range(0x20, 0x30)),
        compression=said,
    )
    sent = protect(client, long, BOTH, Style.GENERAL_GLO)
    (found,) = dissect(sent, Keyring.of_credentials(Credentials(meter, {"one": role})))
    assert found.error is None and found.plain == long
    (found,) = dissect(
        sent, Keyring.of_credentials(Credentials(meter, {"one": replace(role, compression=None)}))
    )
    assert found.error is not None and found.plain is None


def test_access_request_by_value() -> None:
    row = vector("gb133-access-request")
    found = only(dissect(octets(row, "apdu") or b""))
    assert found.apdu == "access-request" and found.warnings == ()
    assert found.plain == octets(row, "apdu")
    asked = found.value["specifications"]
    assert [one["service"] for one in asked] == ["get", "get", "set", "set"]
    assert asked[1]["attribute"] == {"class_id": 8, "instance_id": "0.0.1.0.0.255", "attribute_id": 2}
    clock, week_profiles = found.value["data"][1], found.value["data"][3]
    assert clock is None
    assert week_profiles[2] == ["02", *[255] * 7]


def test_access_response_and_event_by_value() -> None:
    """Data beside a clock's time is a time, as the class of the attribute says."""
    time = "090C07E6021501111E1E000000 00".replace(" ", "")
    spec = "01 0008 0000010000FF 02"
    (found,) = dissect(bytes.fromhex(f"DA 60000007 00 01 01 {spec} 01 {time} 01 01 00"))
    assert found.value["data"] == ["2022-02-21T17:30:30+00:00"]
    assert found.value["results"] == [{"service": "get", "result": "success"}]
    assert found.value["specifications"][0]["attribute"]["instance_id"] == "0.0.1.0.0.255"
    (bare,) = dissect(bytes.fromhex(f"DA 60000007 00 00 01 {time} 02 03 0D 02 0D"))
    assert bare.value["data"] == [time[4:]]
    assert bare.value["results"] == [
        {"service": "action", "result": "scope-of-access-violated"},
        {"service": "set", "result": "scope-of-access-violated"},
    ]
    (event,) = dissect(bytes.fromhex(f"C2 01 0C {time[4:]} 0008 0000010000FF 02 {time}"))
    assert (event.apdu, event.value["time"]) == ("event-notification-request", "2022-02-21T17:30:30+00:00")
    assert event.value["value"] == event.value["time"]
    (confirm,) = dissect(bytes.fromhex("10 00000009 00"))
    assert confirm.apdu == "data-notification-confirm"
    assert confirm.value == {"long_invoke_id_and_priority": 9, "date_time": None}


def test_short_names_by_value() -> None:
    (read,) = dissect(bytes.fromhex("05 02 02 FA00 04 0100 02 0203 120001 120002 120003"))
    assert read.apdu == "read-request"
    assert read.value["variables"] == [
        {"variable_name": "FA00"},
        {"variable_name": "0100", "selector": 2, "parameter": [1, 2, 3]},
    ]
    (answer,) = dissect(bytes.fromhex("0C 04 00 06 00000007 01 03 02 01 0001 02 AABB 03 0005"))
    assert answer.value["results"] == [
        {"data": 7},
        {"data_access_result": "read-write-denied"},
        {"last_block": True, "block_number": 1, "raw_data": "AABB"},
        {"block_number": 5},
    ]
    (written,) = dissect(bytes.fromhex("0D 02 00 01 0C"))
    assert written.value["results"] == ["success", {"data_access_result": "type-unmatched"}]
    (report,) = dissect(bytes.fromhex("18 01 0F") + b"20220221173030Z" + bytes.fromhex("01 02 FA08 01 11 05"))
    assert report.value["current_time"] == "20220221173030Z"
    assert (report.value["variables"], report.value["values"]) == ([{"variable_name": "FA08"}], [5])


def test_a_public_sample_that_does_not_reproduce_stays_so() -> None:
    row = vector("scribd-handout-gcm")
    assert not row["verified"]
    iv = octets(row, "iv") or b""
    body = bytes.fromhex(row["expected"]["ciphertext"]) + bytes.fromhex(row["expected"]["tag"]).ljust(
        12, b"\0"
    )
    apdu = bytes((0xC8, 5 + len(body), 0x30)) + iv[8:] + body
    (found,) = dissect(
        apdu, Keyring.of(guek=octets(row, "key"), gak=octets(row, "aad"), title=iv[:8]), unverified=True
    )
    assert isinstance(found.error, Forged)
    assert found.plain is None


def test_push_in_blocks_over_hdlc() -> None:
    found = only(dissect(samples.E450_OCTETS, samples.E450_RING))
    assert [layer["kind"] for layer in found.layers] == [
        "hdlc",
        "general-block-transfer",
        "general-glo-ciphering",
    ]
    assert found.layers[0]["frames"] == found.layers[1]["blocks"] == 3
    assert found.layers[2]["verified"] is True
    assert found.plain is not None and found.plain.startswith(
        bytes.fromhex("0F00177BCA0C07E602150111251EFF8000000221090C")
    )
    assert found.value["date_time"] == "2022-02-21T17:37:30"
    assert isinstance(found.message, DataNotification)
    quantities = {str(one.obis): one.value for one in readings(found.message.notification_body.value)}
    assert quantities["1.0.1.8.0.255"] == 4408736


def test_ciphered_customer_port() -> None:
    found = only(dissect(samples.ciphered_p1(), samples.RING))
    assert found.apdu == "p1-telegram"
    assert [layer["kind"] for layer in found.layers] == ["general-glo-ciphering"]
    assert found.value["identification"] == "XXX5TESTMETER"
    assert found.value["checked"] is True
    lines = {line["reference"]: line["values"] for line in found.value["lines"]}
    assert lines["1-0:1.8.1"] == [{"value": "000051.775", "unit": "kWh"}]
    assert lines["0-1:24.2.1"][0] == {"value": "250101120000W", "unit": None}


def test_F07_a_ciphered_customer_port_with_its_length_in_another_form() -> None:
    """The length is under no tag: the same telegram, found and opened, alone and in the middle of others."""
    telegram = samples.ciphered_p1()
    title, length, content = telegram[:10], telegram[11:13], telegram[13:]
    for form in (b"\x83\x00" + length, b"\x84\x00\x00" + length):
        other = title + form + content
        assert only(dissect(other, samples.RING)).value["checked"] is True
        assert dissect(content[-40:] + other, samples.RING)[-1].apdu == "p1-telegram"


def test_plain_customer_port() -> None:
    found = only(dissect(p1_telegram()))
    assert found.apdu == "p1-telegram"
    assert found.layers[0] == {"kind": "p1-telegram", "identification": "XXX5TESTMETER", "checked": True}


def test_readings_of_an_austrian_push() -> None:
    found = only(dissect(samples.TIROL, samples.TIROL_RING))
    assert isinstance(found.message, DataNotification)
    table = {str(one.obis): one for one in readings(found.message.notification_body.value)}
    assert str(table["1.0.1.8.0.255"].value) == "9108" and table["1.0.1.8.0.255"].unit == "Wh"
    assert str(table["1.0.32.7.0.255"].value) == "230.8" and table["1.0.32.7.0.255"].unit == "V"
    assert table["0.0.1.0.0.255"].value == "2021-07-19T15:46:35+02:00"
    assert table["0.0.42.0.0.255"].value == "KFM1100100000035"
    assert table["1.0.1.8.0.255"].name == "active energy import (+A)"


def test_suite_2_has_longer_keys() -> None:
    ek, ak, plain = bytes(range(32)), bytes(range(32, 64)), bytes.fromhex("C001C100080000010000FF0200")
    body = GcmKey(ek, ak).seal(0x32, samples.TITLE + bytes(4), plain)
    apdu = b"\xdb\x08" + samples.TITLE + bytes((5 + len(body), 0x32)) + bytes(4) + body
    found = only(dissect(apdu, Keyring.of(guek=ek, gak=ak)))
    assert found.plain == plain and found.layers[0]["suite"] == 2 and found.layers[0]["verified"] is True
