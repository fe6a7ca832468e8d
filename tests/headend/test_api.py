"""The API: what a utility sees and does, who is let in (F21), what is refused and how."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from meterseal.errors import TimedOut, Unsupported
from meterseal.headend import store, tls
from meterseal.security.sealed import Sealed
from tests.headend.home import METERS, TITLES, home, party, sealed_for, settled

NORTH, SOUTH = TITLES["north"], TITLES["south"]
M1, M2, M3 = METERS["m1"], METERS["m2"], METERS["m3"]
HEX = {name: title.hex().upper() for name, title in METERS.items()}
SEALED = {"Content-Type": "application/octet-stream"}


async def test_a_sealed_request_goes_there_and_its_answer_comes_back(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north = await place.caller(NORTH)
        octets = sealed_for(M1)
        done = await north.post(f"/v1/meters/{HEX['m1']}/requests?wait=20", content=octets, headers=SEALED)
        assert done.status_code == 202, done.text
        body = done.json()
        assert (body["state"], body["cause"], body["meter"]) == ("answered", None, HEX["m1"])
        assert Sealed.of(bytes.fromhex(body["answer"])).answers(Sealed.of(octets))
        assert [one.octets for one in place.fakes[M1].asked] == [octets], "octet for octet"
        again = await north.get(f"/v1/requests/{body['id']}")
        assert again.json() == body
        (row,) = (await north.get("/v1/account")).json()
        assert (row["request"], row["meter"], row["originator"]) == (
            body["id"],
            HEX["m1"],
            NORTH.hex().upper(),
        )
        assert (row["size"], row["answer_size"], row["outcome"]) == (
            len(octets),
            len(body["answer"]) // 2,
            "answered",
        )
        assert "sealed" not in row
        gone = await north.delete(f"/v1/requests/{body['id']}")
        assert gone.status_code == 204
        assert (await north.get(f"/v1/requests/{body['id']}")).status_code == 404
        assert (await north.get("/v1/account")).json() == [row], "the account keeps its row"


async def test_a_utility_sees_its_own_meters_and_requests_only(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north, south = await place.caller(NORTH), await place.caller(SOUTH)
        assert {one["name"] for one in (await north.get("/v1/meters")).json()} == {"m1", "m2"}
        assert {one["name"] for one in (await south.get("/v1/meters")).json()} == {"m3"}
        made = await north.post(
            f"/v1/meters/{HEX['m1']}/requests?wait=20", content=sealed_for(M1), headers=SEALED
        )
        id = made.json()["id"]
        kept = '{"value": 1234567890123.4567890, "unit": "Wh"}'
        await place.house.store.run(store.read(HEX["m1"], 7.0, {"3/1.0.1.8.0.255:2": kept}))
        own = await north.get(f"/v1/meters/{HEX['m1']}/readings")
        assert own.json()[0]["value"]["unit"] == "Wh" and f'"value":{kept}' in own.text
        foreign = [
            await south.get(f"/v1/requests/{id}"),
            await south.delete(f"/v1/requests/{id}"),
            await south.get(f"/v1/account?meter={HEX['m1']}"),
            await south.get(f"/v1/meters/{HEX['m1']}/readings"),
            await south.delete(f"/v1/meters/{HEX['m1']}/account"),
            await south.post(
                f"/v1/meters/{HEX['m1']}/requests", content=sealed_for(M1, SOUTH), headers=SEALED
            ),
        ]
        never = await south.get(f"/v1/requests/{'0' * 24}")
        assert [one.status_code for one in foreign] == [404] * len(foreign)
        assert foreign[0].json() == never.json(), "another's request is as one that never was"
        assert (await south.get("/v1/account")).json() == []
        assert (await north.get(f"/v1/requests/{id}")).status_code == 200


# --- F21: certificates ------------------------------------------------------------------------------


async def test_F21_no_certificate_no_connection(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        nobody = await place.caller(None)
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await nobody.get("/v1/meters")


async def test_F21_a_certificate_of_another_authority_ends_the_handshake(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        forger = await place.caller(NORTH, root="forged")
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await forger.get("/v1/meters")


async def test_F21_a_certificate_that_is_nobodys_is_refused_everywhere(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        stranger = await place.caller(b"MSLXXX01")
        for method, path in (
            ("GET", "/v1/meters"),
            ("GET", "/v1/account"),
            ("GET", f"/v1/requests/{'0' * 24}"),
            ("POST", f"/v1/meters/{HEX['m1']}/requests"),
            ("DELETE", f"/v1/meters/{HEX['m1']}/account"),
            ("GET", "/metrics"),
        ):
            assert (await stranger.request(method, path)).status_code == 403, path


async def test_F21_no_header_makes_anybody_somebody_else(tmp_path: Path) -> None:
    pem = party(NORTH).pem.decode().replace("\n", " ").strip()
    names = (
        "X-Client-Cert",
        "X-SSL-Client-Cert",
        "X-Forwarded-Client-Cert",
        "X-SSL-Client-S-DN",
        "Forwarded",
    )
    async with home(tmp_path) as place:
        south = await place.caller(SOUTH, **dict.fromkeys(names, pem))
        assert {one["name"] for one in (await south.get("/v1/meters")).json()} == {"m3"}
        stranger = await place.caller(b"MSLXXX01", **dict.fromkeys(names, pem))
        assert (await stranger.get("/v1/meters")).status_code == 403


async def test_F21_the_identity_is_that_of_each_connection_also_side_by_side(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north, south = await place.caller(NORTH), await place.caller(SOUTH)

        async def seen(client: httpx.AsyncClient) -> set[str]:
            return {one["name"] for one in (await client.get("/v1/meters")).json()}

        found = await asyncio.gather(*(seen(north if at % 2 else south) for at in range(20)))
        assert found == [{"m1", "m2"} if at % 2 else {"m3"} for at in range(20)]


async def test_F21_two_certificates_of_one_utility_are_the_utility(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        old = place.house.config.utilities[0]
        prints = old.fingerprints | {tls.fingerprint(party(b"MSLNEW01").der)}
        changed = replace(old, fingerprints=prints)
        place.house.config = replace(
            place.house.config, utilities=(changed, *place.house.config.utilities[1:])
        )
        assert (await (await place.caller(b"MSLNEW01")).get("/v1/meters")).status_code == 200


def test_F21_another_uvicorn_is_not_taken_on_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.__version__", "0.99.0")
    with pytest.raises(Unsupported, match="tested with uvicorn"):
        tls.identified()


# --- F21: bodies, paths, floods -----------------------------------------------------------------------


BODIES = {
    "empty": (b"", 422),
    "a tag": (b"\xdd", 422),
    "cut": (b"\xdd\x08" + bytes(4), 422),
    "a plain APDU": (b"\xc0\x01\xc1\x00\x03\x01\x00\x01\x08\x00\xff\x02\x00", 422),
    "one octet short": (sealed_for(M1)[:-1], 422),
    "one octet long": (sealed_for(M1) + b"\x00", 422),
    "no tag": (sealed_for(M1, content=b"\x20\0\0\0\1sealed"), 422),
    "not ciphered": (sealed_for(M1, content=b"\x00\0\0\0\1plain!"), 422),
    "nobody's": (sealed_for(M1, b""), 422),
    "for another of its meters": (sealed_for(M2), 403),
    "for a foreign meter": (sealed_for(M3), 403),
    "by a foreign title": (sealed_for(M1, SOUTH), 403),
    "oversized": (bytes(70_000), 413),
    "a megabyte": (bytes(1_000_000), 413),
}


async def test_F21_bodies_that_are_not_sealed_go_nowhere(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north = await place.caller(NORTH)
        for name, (body, status) in BODIES.items():
            done = await north.post(f"/v1/meters/{HEX['m1']}/requests", content=body, headers=SEALED)
            assert done.status_code == status, (name, done.text)
            assert set(done.json()["error"]) == {"type", "message"}, name
        assert not place.fakes[M1].asked
        assert (await north.get("/v1/account")).json() == []


ODD = (
    ("GET", "/v1/requests/nonsense", 400),
    ("GET", f"/v1/requests/{'0' * 24}'%20or%201=1", 400),
    ("GET", "/v1/meters/../../etc/passwd", 404),
    ("GET", "/v1/account?rows=0", 400),
    ("GET", "/v1/account?rows=100000", 400),
    ("GET", "/v1/account?meter=%3Cscript%3E", 400),
    ("POST", "/v1/meters/4d534c0000000001/requests", 400),
    ("POST", f"/v1/meters/{HEX['m1']}/requests?deadline=-1", 400),
    ("POST", f"/v1/meters/{HEX['m1']}/requests?deadline=nan", 400),
    ("POST", f"/v1/meters/{HEX['m1']}/requests?wait=1e9", 400),
    ("PUT", "/v1/meters", 405),
    ("GET", "/nothing", 404),
)


async def test_F21_what_is_not_understood_is_said_without_repeating_it(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north = await place.caller(NORTH)
        for method, path, status in ODD:
            done = await north.request(method, path, content=sealed_for(M1), headers=SEALED)
            assert done.status_code == status, (path, done.text)
            assert done.headers["content-type"].startswith("application/json")
            assert "script" not in done.text and "passwd" not in done.text


async def test_F21_only_octets_are_taken(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north = await place.caller(NORTH)
        for kind in ("application/json", "text/html", "multipart/form-data; boundary=x"):
            headers = {"Content-Type": kind}
            done = await north.post(
                f"/v1/meters/{HEX['m1']}/requests", content=sealed_for(M1), headers=headers
            )
            assert done.status_code == 415


async def test_F21_a_flood_is_told_to_wait_and_another_utility_is_served(tmp_path: Path) -> None:
    async with home(tmp_path, rate=2) as place:
        north, south = await place.caller(NORTH), await place.caller(SOUTH)
        found = await asyncio.gather(*(north.get("/v1/meters") for _ in range(30)))
        refused = [one for one in found if one.status_code == 429]
        assert refused
        assert refused[0].headers["retry-after"] == "1"
        assert {one.status_code for one in found} == {200, 429}
        assert (await south.get("/v1/meters")).status_code == 200


async def test_F21_a_full_queue_is_busy_and_empties_again(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        utility = replace(place.house.config.utilities[0], queue=2)
        place.house.config = replace(place.house.config, utilities=(utility,))
        go = asyncio.Event()

        async def slow(sealed: Sealed) -> bytes:
            await go.wait()
            return sealed_for(sealed.originator, sealed.recipient)

        place.fakes[M1].answer = slow
        north = await place.caller(NORTH)
        path = f"/v1/meters/{HEX['m1']}/requests"
        codes = [
            (await north.post(path, content=sealed_for(M1), headers=SEALED)).status_code for _ in range(3)
        ]
        assert codes == [202, 202, 429]
        go.set()
        await settled(place.house)
        assert (await north.post(path, content=sealed_for(M1), headers=SEALED)).status_code == 202
        await settled(place.house)


async def test_F21_many_connections_of_one_certificate_leave_room_for_others(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(*party(NORTH).files(tmp_path, "crowd"))
        host, port = place.url.removeprefix("https://").split(":")
        crowd = [
            await asyncio.open_connection(host, int(port), ssl=context) for _ in range(tls.PER_CALLER + 3)
        ]
        ended = 0
        for reader, _ in crowd[tls.PER_CALLER :]:
            try:
                ended += await reader.read() == b""
            except OSError:
                ended += 1
        assert ended == 3
        assert (await (await place.caller(SOUTH)).get("/v1/meters")).status_code == 200
        for _, writer in crowd:
            writer.transport.abort()


async def test_the_contract_is_published_and_says_nothing_of_meters(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        found = (await (await place.caller(NORTH)).get("/schema/openapi.json")).json()
        assert "/v1/meters/{title}/requests" in found["paths"]
        assert HEX["m1"] not in str(found)


async def test_F21_no_page_of_the_api_brings_scripts_of_others(tmp_path: Path) -> None:
    """A browser that shows the utility's certificate would run them as the utility."""
    async with home(tmp_path) as place:
        caller = await place.caller(NORTH)
        for path in ("/", "/schema", "/schema/", "/schema/swagger", "/schema/redoc", "/schema/scalar"):
            answer = await caller.get(path)
            assert not any(word in answer.text for word in ("<script", "src=", "//")), path


async def test_metrics_are_for_observers_and_name_no_meter(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        north, observer = await place.caller(NORTH), await place.caller(b"MSLOBS01")
        assert (await north.get("/metrics")).status_code == 403
        assert (await observer.get("/v1/meters")).status_code == 403
        await north.post(f"/v1/meters/{HEX['m1']}/requests?wait=20", content=sealed_for(M1), headers=SEALED)

        async def late(sealed: Sealed) -> bytes:
            raise TimedOut("none")

        place.fakes[M2].answer = late
        await north.post(f"/v1/meters/{HEX['m2']}/requests?wait=20", content=sealed_for(M2), headers=SEALED)
        text = (await observer.get("/metrics")).text
        for line in (
            "meterseal_sign_ons_total 2.0",
            'meterseal_requests_total{outcome="answered"} 1.0',
            'meterseal_requests_total{outcome="unanswered"} 1.0',
            'meterseal_refusals_total{cause="timed-out"}',
            "meterseal_replays_total 0.0",
            "meterseal_counters_left 1000.0",
            "meterseal_queue_length 0.0",
            'meterseal_certificate_age_seconds{of="headend"}',
        ):
            assert line in text, line
        assert not any(title in text for title in HEX.values())
