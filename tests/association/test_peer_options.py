"""Every peer option (design law 6): the strict end refuses what such a peer does, the option takes it.

One row per option; an option without a row is a failure.  No other option stands in for one that is off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meterseal.apdu import services as s
from meterseal.apdu.acse import Rlrq
from meterseal.apdu.common import DataBlock
from meterseal.association import Associated, Confirmed, Released
from meterseal.association.profile import SERVER_CONFORMANCE
from meterseal.codec.data import Data, Tag
from meterseal.credentials import Credentials, MeterCredentials, ThirdPartyCredentials
from meterseal.errors import ConfigurationError, MetersealError
from meterseal.framing import gbt
from meterseal.keys.counters import SendCounter
from meterseal.security import SIGNED, Style, protect, unprotect
from meterseal.security.options import PEER_OPTIONS
from meterseal.security.packing import COMPRESSION
from meterseal.security.protection import policy_bits
from meterseal.utility.session import make_setup
from tests.association.line import FIRST_INVOKE
from tests.association.pair import REGISTER, TO_CLIENT, Pair, associated, call, get, octet_string, put
from tests.association.test_client_blocks import WRITINGS, tell
from tests.association.test_layers import SEALED, SEED, pair_in
from tests.hostile.test_core_counters import Repeating
from tests.meter.test_key_transfer import GUEK, MANAGER, transfer
from tests.meter.world import world
from tests.security.parties import ALL, GET, both, by, ciphering, signing
from tests.security.test_data_protection import PLAIN, made, opened, parameters

Options = frozenset[str]
Row = Callable[[Options], bool]
"""Options of our end, to whether it takes what the odd peer does."""


def _opens(octets: bytes, meter: Any, options: Options) -> bool:
    meter.options = options
    try:
        return unprotect(meter, octets).apdu == GET
    except MetersealError:
        return False


def _sent_by(*odd: str) -> Row:
    """A message of a client with these deviations, in the form that shows them."""

    def taken(options: Options) -> bool:
        client, meter = both()
        client.options = frozenset(odd)
        if "empty_header_fields" in odd:
            layers = ciphering("bare"), signing()
            return _opens(protect(client, GET, SIGNED | 1, Style.LAYERED, layers), meter, options)
        if "content_length_signed" in odd:
            return _opens(protect(client, GET, ALL, Style.GENERAL_GLO, (signing(),)), meter, options)
        return _opens(by(client, "one-pass"), meter, options)

    return taken


def begins_anew_with_each_key(options: Options) -> bool:
    client, meter = both()
    taken = []
    for transaction in (b"first", b"second"):
        client.setup.fresh.tx = SendCounter(0, 10)
        taken.append(_opens(by(client, "one-pass", transaction=transaction), meter, options))
    return all(taken)


def protects_data_without_its_header(options: Options) -> bool:
    client, meter = both()
    client.options = frozenset({"class30_aad"})
    elements, octets = made(client, parameters())
    meter.options = options
    try:
        return bool(opened(meter, elements, octets).plain == PLAIN)
    except MetersealError:
        return False


def compresses_service_specific_forms(options: Options) -> bool:
    packing = {"compression": COMPRESSION["packet-default"]}
    odd = {**packing, "options": frozenset({"compress_service_specific"})}
    pair = Pair(suite_id=1, client=odd, server={**packing, "options": options})
    if pair.sign_on() != [Associated(None)]:
        return False
    (effect,) = pair.ask(put(Data.of(bytes(500), Tag.OCTET_STRING)))
    return isinstance(effect, Confirmed)


def token_and_frame_share_a_counter(options: Options) -> bool:
    pair = Pair(server={"options": options})
    pair.client.profile.setup.key().tx = Repeating(pair)
    return pair.sign_on() == [Associated(None)]


def _long_action(written: str) -> Row:
    def taken(options: Options) -> bool:
        pair = associated(client={"options": options})
        pair.client.request((call(),))
        effect = tell(pair, s.ActionResponseWithPblock(FIRST_INVOKE, DataBlock(True, 1, WRITINGS[written])))
        return isinstance(effect, Confirmed)

    return taken


def releases_plainly(options: Options) -> bool:
    pair = associated(server={"options": options})
    return any(isinstance(effect, Released) for effect in pair.to_meter(Rlrq(0).encode()))


def expects_blocks_that_it_did_not_begin(options: Options) -> bool:
    """It takes long answers by general block transfer only: strict, the meter answers like for like."""
    client = {"max_pdu": 128, "conformance": SERVER_CONFORMANCE}
    pair = associated(client=client, server={"options": options})
    pair.plant.values[REGISTER, 2] = octet_string(bytes(300)).raw
    pair.ask(get())
    return pair.sent(TO_CLIENT)[-1][0] == gbt.TAG


def seals_under_wrapped_keys(options: Options) -> bool:
    """Credentials may hold the row, as those of preset suite0 do; who wants to seal needs the option."""
    third = ThirdPartyCredentials(system_title=b"MSLUTY01", layers="wrapped", kek=bytes(16), peer=options)
    held = Credentials(MeterCredentials(system_title=b"MSL00001"), third_parties={"utility": third})
    try:
        make_setup(held, third)
    except ConfigurationError:
        return False
    return True


def signs_no_answers(options: Options) -> bool:
    pair = pair_in(policy=policy_bits(SEALED, SEALED), client={"options": options})
    pair.server.profile.setup.signing = None
    if pair.run(pair.client.associate(bytes(range(16)), SEED)) != [Associated(None)]:
        return False
    (effect,) = pair.run(pair.client.request([call()], added=SIGNED))
    return isinstance(effect, Confirmed)


def goes_on_under_its_old_keys(options: Options) -> bool:
    """A client that has brought a new GUEK for itself, and takes it from its next association on."""
    here = world()
    manager = here.signed_on("manager")
    profile = manager.line.handler.live[0].machine.profile
    before, profile.options = profile.options, options
    try:
        assert transfer(manager, {GUEK: bytes(range(16))}, MANAGER) == 0
        return bool(manager.get(3, "1.0.1.8.0.255"))
    except MetersealError:
        return False
    finally:
        profile.options = before


ROWS: dict[str, Row] = {
    "ak_in_use": _sent_by("ak_in_use"),
    "algorithm_id": _sent_by("algorithm_id"),
    "class30_aad": protects_data_without_its_header,
    "compress_service_specific": compresses_service_specific_forms,
    "content_length_signed": _sent_by("content_length_signed"),
    "empty_header_fields": _sent_by("empty_header_fields"),
    "fresh_key_any_counter": begins_anew_with_each_key,
    "hls_token_shares_counter": token_and_frame_share_a_counter,
    "long_action_bare_data": _long_action("long_action_bare_data"),
    "long_action_result_only": _long_action("long_action_result_only"),
    "new_keys_from_next_association": goes_on_under_its_old_keys,
    "plain_release": releases_plainly,
    "prefers_gbt": expects_blocks_that_it_did_not_begin,
    "third_party_wrapped_key": seals_under_wrapped_keys,
    "unsigned_answers": signs_no_answers,
}


def test_every_option_has_its_row() -> None:
    assert ROWS.keys() == PEER_OPTIONS.keys()


@pytest.mark.parametrize("option", PEER_OPTIONS)
def test_strict_refuses_and_the_option_takes(option: str) -> None:
    taken = ROWS[option]
    assert not taken(frozenset())
    assert taken(frozenset({option}))


READ_ALIKE = {"long_action_bare_data", "long_action_result_only"}
"""Two readings of one field: only one of them can be on."""


@pytest.mark.parametrize("option", PEER_OPTIONS)
def test_no_other_option_stands_in(option: str) -> None:
    others = frozenset(PEER_OPTIONS) - {option} - (READ_ALIKE if option in READ_ALIKE else set())
    assert not ROWS[option](others)
