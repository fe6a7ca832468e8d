"""The keys of general-ciphering: one row for each way in which key-info may tell of one (security 4, 12).

| form        | key-info      | key                                       | counters             |
|-------------|---------------|-------------------------------------------|----------------------|
| `absent`    | none          | GUEK: the key that both ends hold already | those of the GUEK    |
| `identified`| 00 00         | GUEK                                      | those of the GUEK    |
| `broadcast` | 00 01         | GBEK, at the meter and for receiving only | those of the GBEK    |
| `wrapped`   | 01 00 ...     | a fresh one under the master key          | one floor for all    |
| `one-pass`  | 02 01 01 ...  | agreed on by C(1e,1s), ephemeral signed   | one floor for all    |
| `static`    | 02 01 02 00   | agreed on by C(0e,2s), by transaction     | one floor for all    |
| `bare`      | none          | as `static`, told by the signed layer     | one floor for all    |

Fresh keys are used once, so no nonce of theirs repeats; the counter still goes on from message to
message, because it is what tells an old message from a new one.  It outlives the global keys: what was
agreed on before they changed would open afterwards as well.
`bare` is a form of the British companion specification (peer option `empty_header_fields`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from meterseal.apdu.ciphered import GLOBAL
from meterseal.apdu.general import GUEK, MASTER_KEY, AgreedKey, IdentifiedKey, KeyInfo, WrappedKey
from meterseal.crypto import AgreementKey, AgreementPoint, GcmKey, curve
from meterseal.errors import KeyLength, Malformed, UnknownKey
from meterseal.keys.exchanges import ONCE
from meterseal.security.agreement import AS_PRINTED, CORRECTED, ONE_PASS, STATIC, Parties, Scheme, agree
from meterseal.security.context import Context, KeyInUse
from meterseal.security.layers import Layer
from meterseal.security.steps import Steps

_GBEK: Final = 1


class Made(NamedTuple):
    """A key to seal with, and the key-info that tells the recipient of it."""

    key: GcmKey
    info: KeyInfo | None


class Guard(NamedTuple):
    """How a received counter is judged: `check` before anything is verified and once more before `commit`.

    `key` is the lasting key whose counters these are, None for a fresh key; `lowest` its floor before.
    """

    check: Callable[[], None]
    commit: Callable[[], None]
    key: KeyInUse | None = None
    lowest: int = 0


class Form(NamedTuple):
    """One row.  `info` is what key-info looks like: its type and first field.

    `lasting` gives the key in use where the form means one that lasts; else `name` is what makes the
    message the only one of its kind, and `again` says that others may come under the same name, with
    higher counters.
    """

    info: tuple[type, Any] | None
    make: Callable[[Context, Layer], Made | Steps[Made]]
    find: Callable[[Context, Layer, Any], GcmKey | Steps[GcmKey]]
    lasting: Callable[[Context], KeyInUse] | None = None
    name: Callable[[Layer, Any], bytes] = lambda layer, info: b""
    again: bool = False


# --- keys that both ends hold -------------------------------------------------------------------


def _unicast(context: Context) -> KeyInUse:
    return context.receiving_key(GLOBAL, False)


def _group(context: Context) -> KeyInUse:
    if not context.serving:
        raise UnknownKey("the broadcast key is not for this end")
    return context.receiving_key(GLOBAL, True)


def _make_identified(context: Context, layer: Layer) -> Made:
    return Made(context.setup.key().handle, IdentifiedKey(GUEK))


def _make_absent(context: Context, layer: Layer) -> Made:
    return Made(context.setup.key().handle, None)


def _make_broadcast(context: Context, layer: Layer) -> Made:
    raise UnknownKey("nothing is sent under the broadcast key from here")


def _find_unicast(context: Context, layer: Layer, info: Any) -> GcmKey:
    return _unicast(context).handle


def _find_group(context: Context, layer: Layer, info: Any) -> GcmKey:
    return _group(context).handle


# --- a fresh key, wrapped -------------------------------------------------------------------------


def _make_wrapped(context: Context, layer: Layer) -> Made:
    octets, wrapped = _master(context).fresh(context.setup.suite.key_length)
    return Made(_beside_ak(context, octets), WrappedKey(MASTER_KEY, wrapped))


def _find_wrapped(context: Context, layer: Layer, info: WrappedKey) -> GcmKey:
    octets = _master(context).unwrap(info.key_ciphered_data)
    length = context.setup.suite.key_length
    if len(octets) != length:
        del octets
        raise KeyLength(f"the wrapped key has not the {length} octets of the suite")
    return _beside_ak(context, octets)


def _master(context: Context) -> Any:
    if context.setup.master is None:
        raise UnknownKey("no master key (KEK) is set: wrapped keys are not for this association")
    return context.setup.master


# --- a fresh key, agreed on -------------------------------------------------------------------------


def _make_one_pass(context: Context, layer: Layer) -> Steps[Made]:
    setup, parties = context.setup, Parties(layer.originator, layer.recipient)
    signing, point = setup.signing_key(), setup.agreement_point(layer.recipient)

    def work() -> tuple[bytes, bytes]:
        ephemeral = AgreementKey.generate(signing.curve)
        public = ephemeral.public.octets
        octets = agree(setup.suite, ONE_PASS, ephemeral, point, parties, form=_algorithm(context))
        return octets, public + signing.sign(public)

    octets, signed = yield work
    return Made(_beside_ak(context, octets), AgreedKey(bytes((ONE_PASS.parameters,)), signed))


def _find_one_pass(context: Context, layer: Layer, info: AgreedKey) -> Steps[GcmKey]:
    setup, parties = context.setup, Parties(layer.originator, layer.recipient)
    own, signer = setup.agreement_key(), context.verifying_key(layer.originator)
    size, signed = setup.suite.public_length, info.key_ciphered_data
    if len(signed) != size + setup.suite.signature_length:
        raise Malformed(f"a signed ephemeral key of {len(signed)} octets")

    def work() -> bytes:
        # Whose key it is comes first: a point of a stranger is not even looked at (D06).
        signer.verify(signed[size:], signed[:size])
        point = AgreementPoint(curve(setup.suite.curve), signed[:size])
        return agree(setup.suite, ONE_PASS, own, point, parties, form=_algorithm(context))

    return _beside_ak(context, (yield work))


def _static(context: Context, layer: Layer, peer: bytes) -> Steps[GcmKey]:
    setup, scheme = context.setup, STATIC
    parties = Parties(layer.originator, layer.recipient, layer.transaction_id)
    own, point = setup.agreement_key(), setup.agreement_point(peer)
    octets = yield lambda: agree(setup.suite, scheme, own, point, parties, form=_algorithm(context))
    return _beside_ak(context, octets)


def _make_static(context: Context, layer: Layer) -> Steps[Made]:
    key = yield from _static(context, layer, layer.recipient)
    return Made(key, AgreedKey(bytes((STATIC.parameters,)), b""))


def _make_bare(context: Context, layer: Layer) -> Steps[Made]:
    return Made((yield from _static(context, layer, layer.recipient)), None)


def _find_static(context: Context, layer: Layer, info: AgreedKey) -> Steps[GcmKey]:
    if info.key_ciphered_data:
        raise Malformed("C(0e,2s) brings no key along")
    return (yield from _static(context, layer, layer.originator))


def _find_bare(context: Context, layer: Layer, info: None) -> Steps[GcmKey]:
    return (yield from _static(context, layer, layer.originator))


def _algorithm(context: Context) -> str:
    return AS_PRINTED if "algorithm_id" in context.options else CORRECTED


def _beside_ak(context: Context, octets: bytes) -> GcmKey:
    """The fresh key beside the global AK, or alone where the peer uses none with such keys."""
    if "ak_in_use" in context.options:
        return GcmKey(octets)
    return context.setup.key().handle.with_key(octets)


# --- the rows -----------------------------------------------------------------------------------


def _by_transaction(layer: Layer, info: Any) -> bytes:
    return layer.originator + layer.transaction_id


def _agreed(scheme: Scheme) -> tuple[type, bytes]:
    return AgreedKey, bytes((scheme.parameters,))


FORMS: Final[dict[str, Form]] = {
    "absent": Form(None, _make_absent, _find_unicast, _unicast),
    "identified": Form((IdentifiedKey, GUEK), _make_identified, _find_unicast, _unicast),
    "broadcast": Form((IdentifiedKey, _GBEK), _make_broadcast, _find_group, _group),
    "wrapped": Form(
        (WrappedKey, MASTER_KEY), _make_wrapped, _find_wrapped,
        name=lambda layer, info: layer.originator + info.key_ciphered_data,
    ),
    "one-pass": Form(
        _agreed(ONE_PASS), _make_one_pass, _find_one_pass,
        name=lambda layer, info: layer.originator + info.key_ciphered_data,
    ),
    "static": Form(
        _agreed(STATIC), _make_static, _find_static, name=_by_transaction, again=True
    ),
    "bare": Form(None, _make_bare, _find_bare, name=_by_transaction, again=True),
}  # fmt: skip
"""The forms by name."""

_BY_INFO: Final = {row.info: name for name, row in FORMS.items() if row.info is not None}


def form_of(info: KeyInfo | None) -> str:
    """The name of the form that a key-info is.  Raises UnknownKey for a key that there is not."""
    if info is None:
        return "absent"
    name = _BY_INFO.get((type(info), info[0]))
    if name is None:
        raise UnknownKey(f"key-info asks for a key that there is not ({type(info).__name__})")
    return name


def guard(context: Context, layer: Layer, info: Any, counter: int) -> Guard:
    """How the counter of a received layer is judged.  Raises UnknownKey for a lasting key not held."""
    form, setup = FORMS[layer.form], context.setup
    if form.lasting is not None:
        key = form.lasting(context)
        return Guard(
            lambda: key.rx.check(counter, context.window), lambda: key.rx.commit(counter), key, key.rx.lowest
        )
    if "fresh_key_any_counter" in context.options:
        name, seen = form.name(layer, info), setup.exchanges
        last = counter if form.again else ONCE
        return Guard(lambda: seen.check(name, counter), lambda: seen.commit(name, last))
    rx = setup.fresh.rx
    return Guard(lambda: rx.check(counter, context.window), lambda: rx.commit(counter), lowest=rx.lowest)


def is_fresh(form: str) -> bool:
    """True for a form whose key is made for one message."""
    return form in FORMS and FORMS[form].lasting is None
