"""What has to fit together in credentials: lengths and the suite, a mechanism and what it needs."""

from __future__ import annotations

from typing import Final

from meterseal.credentials.fields import METER, NAME, ROLE, THIRD_PARTY, Where, read_table
from meterseal.credentials.records import MeterCredentials, RoleCredentials, ThirdPartyCredentials
from meterseal.crypto import SUITES
from meterseal.errors import MetersealError
from meterseal.security.hls import BY_NAME
from meterseal.security.options import WRAPPED_FOR_THIRD_PARTIES, peer_options
from meterseal.security.protection import AUTHENTICATED, SIGNED

_KEYS: Final = ("guek", "gak", "gbek", "kek")
_BY_ROW: Final = (
    "client", "mechanism", "client_system_title", "user", "max_pdu", "counter_start", "counter_end",
    "not_after", "timeout", "layers", "compression", "signed", "broadcast",
)  # fmt: skip
_LONGEST_SECRET: Final = 64
_OF_THIRD_BY_ROW: Final = ("system_title", "layers", "counter_start", "max_pdu", "timeout")
_AGREED: Final = frozenset({"one-pass", "static", "bare"})


def check_meter(meter: MeterCredentials, where: Where) -> None:
    """Raise ConfigurationError for what cannot be; objects made in a program come this way too."""
    values = {name: getattr(meter, name) for name in METER}
    read_table({name: value for name, value in values.items() if value is not None}, METER, where)


def check_role(role: RoleCredentials, meter: MeterCredentials, where: Where) -> None:
    """Raise ConfigurationError for what cannot be."""
    if not NAME.fullmatch(where.name.removeprefix("roles.")):
        raise where.error("the name of a role has 1 to 32 letters, digits, hyphens and underscores")
    values = {name: getattr(role, name) for name in _BY_ROW}
    read_table({name: value for name, value in values.items() if value is not None}, ROLE, where)
    try:
        peer_options(role.peer)
    except MetersealError as error:
        raise where.error(str(error), "peer") from None
    _lengths(role, meter, where)
    _needs(role, meter, where)
    if role.client_system_title is not None and role.client_system_title == meter.system_title:
        raise where.error("the same as the meter's: every party has its own", "client_system_title")


def check_third_party(third: ThirdPartyCredentials, meter: MeterCredentials, where: Where) -> None:
    """Raise ConfigurationError for what cannot be."""
    if not NAME.fullmatch(where.name.removeprefix("third_parties.")):
        raise where.error("the name of a third party is one of 1 to 32 letters, digits, hyphens, underscores")
    values = {name: getattr(third, name) for name in _OF_THIRD_BY_ROW}
    read_table({name: value for name, value in values.items() if value is not None}, THIRD_PARTY, where)
    try:
        peer_options(third.peer)
    except MetersealError as error:
        raise where.error(str(error), "peer") from None
    if third.system_title == meter.system_title:
        raise where.error("the same as the meter's: every party has its own", "system_title")
    signs = bool(SUITES[meter.suite].signature_length)
    if third.layers == "wrapped" and signs and WRAPPED_FOR_THIRD_PARTIES not in third.peer:
        raise where.error(f"wrapped keys need the peer option {WRAPPED_FOR_THIRD_PARTIES}", "layers")
    if third.layers in _AGREED and not signs:
        raise where.error(f"suite {meter.suite} has none such", "layers")
    needed = {"signing_key": signs, "agreement_key": signs, "kek": third.layers == "wrapped"}
    for name, wanted in needed.items():
        if wanted and getattr(third, name) is None:
            raise where.error(f"missing: layers {third.layers} of suite {meter.suite} need it", name)
    kek, wanted_length = third.octets("kek"), SUITES[meter.suite].key_length
    if kek is not None and len(kek) != wanted_length:
        raise where.error(f"{len(kek)} octets, suite {meter.suite} has keys of {wanted_length}", "kek")


def _lengths(role: RoleCredentials, meter: MeterCredentials, where: Where) -> None:
    wanted = SUITES[meter.suite].key_length
    for name in _KEYS:
        octets = role.octets(name)
        if octets is not None and len(octets) != wanted:
            raise where.error(f"{len(octets)} octets, suite {meter.suite} has keys of {wanted}", name)
    secret = role.octets("secret")
    if secret is not None and not 1 <= len(secret) <= _LONGEST_SECRET:
        raise where.error(f"{len(secret)} octets, 1 to {_LONGEST_SECRET} are allowed", "secret")
    for name, asked in (("policy", role.protection & SIGNED), ("signed", role.signed)):
        if asked and not SUITES[meter.suite].signature_length:
            raise where.error(f"suite {meter.suite} has no signatures", name)


def _needs(role: RoleCredentials, meter: MeterCredentials, where: Where) -> None:
    """Every field that the mechanism, policy and switches ask for is there."""
    scheme = BY_NAME[role.mechanism]
    keyed = bool(role.protection) or role.mechanism == "gmac"
    needed = {
        "guek": keyed,
        "gak": bool(role.protection & AUTHENTICATED) or role.mechanism == "gmac",
        "client_system_title": keyed or role.in_ciphered_context or scheme.needs_titles,
        "secret": scheme.needs_secret,
        "signing_key": scheme.needs_keys
        or bool(role.protection & SIGNED or role.signed)
        or role.layers == "one-pass",
        "agreement_key": role.layers in _AGREED,
        "kek": role.layers == "wrapped",
    }
    for name, wanted in needed.items():
        if wanted and getattr(role, name) is None:
            cause = f"mechanism {role.mechanism}" if not role.protection else "mechanism and policy"
            raise where.error(f"missing: {cause} cannot do without", name)
    if scheme.needs_keys and not SUITES[meter.suite].signature_length:
        raise where.error(f"suite {meter.suite} has no signatures", "mechanism")
    if role.protection and not role.in_ciphered_context:
        raise where.error("false, and the policy asks for protection", "ciphered")
    if role.signed and not role.in_ciphered_context:
        raise where.error("the application context is one without ciphering", "signed")
    for name in ("dedicated", "general", "layers", "compression"):
        if getattr(role, name) and not role.protection:
            raise where.error("the policy asks for no protection", name)
    if role.layers is not None and role.dedicated:
        raise where.error("a dedicated key has no part in general-ciphering", "dedicated")
    for name, asked in (("layers", role.layers in _AGREED), ("compression", role.compression)):
        if asked and not SUITES[meter.suite].signature_length:
            raise where.error(f"suite {meter.suite} has none such", name)
