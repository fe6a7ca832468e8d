"""Peer options: what other makers do differently, each a name with a strict default (design law 6)."""

from __future__ import annotations

from collections.abc import Iterable

from meterseal.errors import ConfigurationError

PEER_OPTIONS: dict[str, str] = {
    "hls_token_shares_counter": "the HLS-GMAC token and the frame that carries it may use one counter value",
    "plain_release": "an RLRQ or RLRE without the protected Initiate ends a ciphered association",
}
"""The options by name, with what each allows.  All are off until named."""


def peer_options(names: Iterable[str]) -> frozenset[str]:
    """The set of these options.  Raises ConfigurationError for a name that is none."""
    chosen = frozenset(names)
    unknown = sorted(chosen - PEER_OPTIONS.keys())
    if unknown:
        raise ConfigurationError(f"no peer option {unknown[0]!r}; there are {', '.join(PEER_OPTIONS)}")
    return chosen
