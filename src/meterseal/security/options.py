"""Peer options: what other makers do differently, each a name with a strict default (design law 6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from meterseal.errors import ConfigurationError, Misuse


class PeerOption(NamedTuple):
    """One option: its strict value, the one of such a peer, and what that peer does."""

    strict: bool | str
    deviation: bool | str
    does: str

    def read(self, value: object) -> bool:
        """True when `value`, as a file gives it, is the deviation.  Raises Misuse for neither value."""
        for known in (self.strict, self.deviation):
            if type(value) is type(known) and value == known:
                return known == self.deviation
        raise Misuse(f"{toml(self.deviation)} or {toml(self.strict)} is wanted")


def _allows(does: str) -> PeerOption:
    return PeerOption(False, True, does)


PEER_OPTIONS: Final[dict[str, PeerOption]] = {
    "ak_in_use": PeerOption(
        True, False, "keys wrapped or agreed on for a message stand alone, without the authentication key"
    ),
    "algorithm_id": PeerOption(
        "corrected", "as-printed", "keys are agreed on with the AlgorithmID as edition 8.0 printed it"
    ),
    "class30_aad": PeerOption(
        "header",
        "sc-only",
        "beside a protected value (class 30) only the security control octet is "
        "authenticated, and not the fields of its protection parameters",
    ),
    "compress_service_specific": _allows("service-specific forms may be compressed as well"),
    "content_length_signed": PeerOption(
        True, False, "the signature of general-signing leaves out the length octets of the content"
    ),
    "empty_header_fields": _allows(
        "general-ciphering with empty fields and no key-info is under a key of C(0e,2s) between the parties "
        "of the signed APDU inside"
    ),
    "fresh_key_any_counter": _allows(
        "under a key made for one message the counter may be any, 0 included; its transaction-id, ephemeral "
        "or wrapped key is then taken once"
    ),
    "hls_token_shares_counter": _allows(
        "the HLS-GMAC token and the frame that carries it may use one counter value"
    ),
    "long_action_bare_data": _allows("the joined blocks of a long ACTION answer are Data and nothing else"),
    "long_action_result_only": _allows(
        "the joined blocks of a long ACTION answer are its Get-Data-Result, with no Action-Result before it"
    ),
    "new_keys_from_next_association": _allows(
        "the association that brings new keys (key_transfer, key_agreement) goes on under the old ones to "
        "its end, and the new ones work from the next sign-on"
    ),
    "plain_release": _allows("an RLRQ or RLRE without the protected Initiate ends a ciphered association"),
    "prefers_gbt": _allows("long APDUs go to this peer by general block transfer, whoever began"),
    "third_party_wrapped_key": _allows(
        "a third party seals under keys wrapped with a KEK of its own, as suite 0 agrees on none: an "
        "extension of this project and no part of the standard, which proves to the two that hold the KEK "
        "and to nobody else"
    ),
    "unsigned_answers": _allows("a signed request may be answered without a signature"),
}
"""The options by name.  An option is in force where its name is in the set that a profile carries."""


NEW_KEYS_LATER: Final = "new_keys_from_next_association"
WRAPPED_FOR_THIRD_PARTIES: Final = "third_party_wrapped_key"
"""The one option that is no maker's deviation but an extension, off wherever it is not named."""


def peer_options(names: Iterable[str]) -> frozenset[str]:
    """The set of these options.  Raises ConfigurationError for a name that is none."""
    chosen = frozenset(names)
    unknown = sorted(chosen - PEER_OPTIONS.keys())
    if unknown:
        raise ConfigurationError(f"no peer option {unknown[0]!r}; there are {', '.join(PEER_OPTIONS)}")
    return chosen


def toml(value: bool | str) -> str:
    """A value as a file has it."""
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
