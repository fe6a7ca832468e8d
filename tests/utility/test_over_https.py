"""What a head-end says over HTTPS, believed as far as a carrier can be, and bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from meterseal.credentials import Credentials, MeterCredentials, ThirdPartyCredentials
from meterseal.errors import (
    ConfigurationError,
    ConnectionLost,
    Malformed,
    MetersealError,
    Misuse,
    Refused,
    TimedOut,
    TooLarge,
)
from meterseal.security.sealed import Sealed
from meterseal.utility.over_https import LARGEST, Via
from tests.headend.home import party, sealed_for

METER, UTILITY = bytes.fromhex("4D534C0000000001"), b"MSLUTI01"
ID = "0123456789ABCDEF01234567"
ANSWER = sealed_for(UTILITY, METER)


def credentials(folder: Path, **changes: Any) -> Credentials:
    certificate, key = party(UTILITY).files(folder, "utility")
    head_end, _ = party(b"MSLHES01").files(folder, "headend")
    given: dict[str, Any] = {
        "tls_key": str(key),
        "tls_certificate": str(certificate),
        "head_end": str(head_end),
    }
    third = ThirdPartyCredentials(
        system_title=UTILITY, layers="wrapped", kek=bytes(16), peer=frozenset({"third_party_wrapped_key"}),
        **{**given, **changes},
    )  # fmt: skip
    return Credentials(MeterCredentials(system_title=METER), third_parties={"utility": third})


def via(folder: Path, answer: Callable[[httpx.Request], httpx.Response]) -> Via:
    """A way whose head-end is a function."""
    made = Via("https://127.0.0.1:1", credentials(folder), timeout=5.0)
    made._client = httpx.AsyncClient(base_url="https://127.0.0.1:1", transport=httpx.MockTransport(answer))
    return made


def reply(status: int, body: Any = None, content: bytes | None = None) -> httpx.Response:
    """An answer as it comes off the line."""
    octets = json.dumps(body).encode() if content is None else content
    return httpx.Response(status, stream=httpx.ByteStream(octets))


def told(state: str, **more: Any) -> dict[str, Any]:
    return {"id": ID, "state": state, "cause": "timed-out: x", "answer": None, **more}


async def test_it_asks_until_the_request_has_ended(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    states = iter([told("queued"), told("sent"), told("answered", answer=ANSWER.hex())])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path))
        return reply(202, next(states))

    async with via(tmp_path, answer) as way:
        assert (await way.carry(Sealed.of(sealed_for(METER, UTILITY)))).octets == ANSWER
    assert seen == [
        ("POST", f"/v1/meters/{METER.hex().upper()}/requests"),
        *[("GET", f"/v1/requests/{ID}")] * 2,
    ]


async def test_a_busy_head_end_is_asked_again(tmp_path: Path) -> None:
    answers = iter([reply(429, {}), reply(200, told("answered", answer=ANSWER.hex()))])
    async with via(tmp_path, lambda request: next(answers)) as way:
        assert (await way.carry(Sealed.of(sealed_for(METER, UTILITY)))).octets == ANSWER


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, told("unanswered"), TimedOut),
        (200, told("expired"), TimedOut),
        (200, told("refused"), Refused),
        (200, told("cancelled"), Misuse),
        (200, told("sideways"), Refused),
        (200, told("answered", answer="no hex"), Malformed),
        (200, told("answered", answer=ANSWER.hex()[:-2]), MetersealError),
        (200, told("answered"), Malformed),
        (200, told("queued", id="../../metrics"), Malformed),
        (200, ["a list"], MetersealError),
        (403, {"error": {"type": "misuse", "message": "no"}}, Refused),
        (404, {"error": "text"}, Refused),
        (422, [], Refused),
        (503, {"error": {"type": "state-unavailable"}}, ConnectionLost),
        (302, {}, Refused),
    ],
)
async def test_what_else_it_says_is_an_error_of_its_kind(
    tmp_path: Path, status: int, body: Any, error: type[MetersealError]
) -> None:
    async with via(tmp_path, lambda request: reply(status, body)) as way:
        with pytest.raises(error):
            await way.carry(Sealed.of(sealed_for(METER, UTILITY)))


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"{", Malformed), (b"[" * 100_000, Malformed), (b'"' + bytes(LARGEST) + b'"', TooLarge)],
    ids=["no JSON", "nested", "without end"],
)
async def test_answers_that_are_none_are_bounded(
    tmp_path: Path, content: bytes, error: type[Exception]
) -> None:
    async with via(tmp_path, lambda request: reply(200, content=content)) as way:
        with pytest.raises(error):
            await way.carry(Sealed.of(sealed_for(METER, UTILITY)))


async def test_a_head_end_that_is_not_there(tmp_path: Path) -> None:
    async with Via("https://127.0.0.1:1", credentials(tmp_path), timeout=5.0) as way:
        with pytest.raises(ConnectionLost):
            await way.carry(Sealed.of(sealed_for(METER, UTILITY)))


@pytest.mark.parametrize("missing", ["tls_key", "tls_certificate", "head_end"])
def test_both_ends_are_known_by_certificates_or_nothing_goes(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        Via("https://127.0.0.1:1", credentials(tmp_path, **{missing: None}))


def test_only_https_and_only_pem(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        Via("http://127.0.0.1:1", credentials(tmp_path))
    bad = tmp_path / "bad.pem"
    bad.write_text("x")
    with pytest.raises(ConfigurationError, match="TLS"):
        Via("https://127.0.0.1:1", credentials(tmp_path, head_end=str(bad)))


def test_the_files_of_a_third_party_travel_with_its_credentials(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "out.toml"
    credentials(tmp_path / "in").with_copies(path).save(path)
    found = Credentials.load(path).third_party()
    assert found.tls_key == "out.toml.files/utility-tls.key"
    assert (tmp_path / found.tls_key).stat().st_mode & 0o077 == 0
    assert json.dumps(replace(found, kek=None).head_end) == '"out.toml.files/utility-head-end.pem"'
