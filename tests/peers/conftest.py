"""Two meters for all of these tests: one that knows the peers' options, and one that is strict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.house import House, house

OPTIONS = "hls_token_shares_counter = true\nplain_release = true\n"
ROLE = """
[roles.{name}]
client = {client}
mechanism = "{mechanism}"
policy = "{policy}"
client_system_title = "4D534C48455300{client:02X}"
{more}
[roles.{name}.peer]
{options}
[[roles.{name}.rights]]
objects = ["*.*.*.*.*.*"]
attributes = "read write"
methods = "access"
"""
SECRET = 'secret = "text:known to both"\nallow_weak = true'
BOTH = "authenticated+encrypted"


def role(name: str, client: int, mechanism: str = "gmac", policy: str = BOTH, more: str = "") -> str:
    """A role that may do everything, with the peer options."""
    return ROLE.format(
        name=name, client=client, mechanism=mechanism, policy=policy, more=more, options=OPTIONS
    )


def roles() -> str:
    """Roles beside the preset's: other policies and mechanisms, small APDUs, one that gets new keys."""
    made = [
        role("authenticated", 32, policy="authenticated"),
        role("encrypted", 33, policy="encrypted", more="allow_weak = true"),
        role("small", 34, more="max_pdu = 256"),
        role("keys", 35),
    ]
    for at, mechanism in enumerate(("lls", "md5", "sha1", "sha256")):
        made.append(role(f"{mechanism}-plain", 40 + at, mechanism, "none", SECRET))
        made.append(role(f"{mechanism}-ciphered", 50 + at, mechanism, BOTH, SECRET))
    return "".join(made)


@pytest.fixture(scope="session")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A meter whose roles have the peer options, with more roles than the preset."""
    preset = "".join(f"[roles.{name}.peer]\n{OPTIONS}" for name in ("operator", "installer", "manager"))
    with house(tmp_path_factory.mktemp("meter"), preset + roles()) as one:
        yield one


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The preset as it is."""
    with house(tmp_path_factory.mktemp("strict")) as one:
        yield one
