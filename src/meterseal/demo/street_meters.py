"""The configuration of a street's meters: a role that only carries, the utility, and pushes for it."""

from __future__ import annotations

from typing import Final

_METER: Final = """# A meter of the street: the preset, a role for the head-end, the utility as third party.

[roles.headend]   # signs on and carries; of itself it sees clock, names and the state of the switch
client = 4
mechanism = "gmac"
policy = "authenticated+encrypted"
client_system_title = "4D534C4845530004"
[[roles.headend.rights]]
objects = ["0.0.40-42.0.0.255", "0.0.1.0.0.255", "0.0.96.1.0.255", "0.0.96.3.10.255"]
attributes = "read"
[[roles.headend.rights]]   # reply_to_HLS_authentication
objects = ["0.0.40.0.0.255"]
methods = {{ 1 = "access" }}
[[roles.headend.rights]]   # customer data: only sealed, for the utility
objects = ["1.0.*.7.0.255", "1.0.1-2.8.0.255", "1.0.99.1.0.255"]
attributes = "read"
for = ["utility"]
[[roles.headend.rights]]   # the switch: only on the utility's word
objects = ["0.0.96.3.10.255"]
methods = "access"
for = ["utility"]

[third_parties.utility]
system_title = "4D534C5554494C31"
{peer}
[[third_parties.utility.rights]]
objects = [
    "0.0.40-42.0.0.255", "0.0.1.0.0.255",
    "1.0.*.7.0.255", "1.0.1-2.8.0.255", "1.0.99.1.0.255",
]
attributes = "read"
[[third_parties.utility.rights]]
objects = ["0.0.96.3.10.255"]
attributes = "read"
methods = "access{signed}"
"""
PUSH: Final = "0.1.25.9.0.255"
"""The push setup of each meter that is sealed for the utility; it has no destination until somebody says."""

_PUSH: Final = """
[[objects]]   # for the utility: the head-end takes its own layer off, and keeps what it cannot open
class = 40
obis = "0.1.25.9.0.255"
version = 1
role = "headend"
push = ["40/0.1.25.9.0.255:1", "8/0.0.1.0.0.255:2", "3/1.0.1.8.0.255:2", "3/1.0.2.8.0.255:2"]
layers = "{form}"
{signed}
recipient = "4D534C5554494C31"
interval = 60
retries = 3
writable = true
"""
_WRAPPED: Final = (
    "[third_parties.utility.peer]   # an extension of ours for suite 0, which has no key agreement\n"
    "third_party_wrapped_key = true\n"
)


def meter_text(suite: int) -> str:
    """The configuration of a meter of this suite, as TOML."""
    peer, signed = ("", " sign-request sign-response") if suite else (_WRAPPED, "")
    form, sign = ("one-pass", "signed = true") if suite else ("wrapped", "")
    return _METER.format(peer=peer, signed=signed) + _PUSH.format(form=form, signed=sign)
