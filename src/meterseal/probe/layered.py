"""general-ciphering and general-signing under dissection: whose key it takes, and what is missing.

Unlike a party, a reader may hold the keys of either end: what two static keys agree on is found from
the one's private and the other's public key, whichever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from meterseal.apdu.ciphered import Ciphered, Form
from meterseal.apdu.general import AgreedKey, GeneralCiphering, GeneralSigning, WrappedKey
from meterseal.crypto import SUITES, AgreementKey, AgreementPoint, curve
from meterseal.errors import MetersealError, ProtectionError, UnknownKey
from meterseal.framing.items import Layer as Framed
from meterseal.probe.keyring import FRESH, GBEK, GUEK, KEK, Keyring, Keys
from meterseal.probe.opening import Frame, check_shape
from meterseal.probe.stream import Line
from meterseal.security.agreement import AS_PRINTED, CORRECTED, ONE_PASS, STATIC, Parties, Scheme, agree
from meterseal.security.ciphering import layer_of, take_content
from meterseal.security.keyforms import FORMS
from meterseal.security.layers import CIPHERING, Layer, check_fields
from meterseal.security.signing import layer_of as layer_of_signed

_FORM: Final = Form(GeneralCiphering.tag[0], CIPHERING, "", 0)
_LASTING: Final = {"absent": GUEK, "identified": GUEK, "broadcast": GBEK}


def ciphering_frame(
    octets: bytes, message: GeneralCiphering, keyring: Keyring, around: Sequence[Framed], line: Line
) -> tuple[Frame, Layer]:
    """A general-ciphering APDU, decoded to `message`, as a frame to open, and its layer.

    Raises DecodeError, UnknownKey.
    """
    sc, counter, body = take_content(message)
    options = frozenset().union(*(keys.options for keys in keyring.sets))
    layer = layer_of(message, sc, body, options)
    check_fields(layer)
    header = message.header_in(octets)
    frame = Frame(Ciphered(_FORM, layer.originator, sc, counter, body), around, line, header)
    frame.asked = _LASTING.get(layer.form, FRESH)
    return frame, layer


def find_keys(frame: Frame, layer: Layer, message: GeneralCiphering, keyring: Keyring) -> None:
    """Where the key is made for the message, see which sets have it.  Raises what stands in the way."""
    check_shape(frame)
    if FORMS[layer.form].lasting is None:
        frame.fresh = _holders(keyring, layer, message)


def signing_layer(message: GeneralSigning) -> Layer:
    """The layer of a general-signing APDU.  Raises Malformed, TooLarge."""
    layer = layer_of_signed(message)
    check_fields(layer)
    return layer


def verify_signing(message: GeneralSigning, keyring: Keyring) -> bool | None:
    """True when the signature holds, None when no key of the originator is held.  Raises Forged."""
    for keys in keyring.sets:
        signer = keys.curves.signers.get(message.originator_system_title)
        if signer is not None:
            covered = "content_length_signed" not in keys.options
            signer.verify(message.signature, message.signed(content_length=covered))
            return True
    return None


# --- keys made for one message --------------------------------------------------------------------


def _holders(keyring: Keyring, layer: Layer, message: GeneralCiphering) -> list[Keys]:
    """The sets that have the key of this message, with it.  Raises the cause where there is none."""
    found, cause = [], None
    for keys in keyring.ordered(None, layer.originator):
        try:
            found.append(keys.with_fresh(_FINDERS[layer.form](keys, layer, message)))
        except ProtectionError as error:
            cause = cause or error
    if not found:
        raise cause or UnknownKey(f"no keys to find the {layer.form} key with")
    return found


def _wrapped(keys: Keys, layer: Layer, message: GeneralCiphering) -> bytes:
    if not keys.holds(KEK):
        raise UnknownKey(f"{KEK} missing: the key of this message is wrapped under it")
    return keys.unwrapped(_told(message))


def _one_pass(keys: Keys, layer: Layer, message: GeneralCiphering) -> bytes:
    own = keys.curves.agreement.get(layer.recipient)
    if own is None:
        raise UnknownKey(
            f"the private key agreement key of {layer.recipient.hex().upper()} is not held: with C(1e,1s) "
            "only the recipient's opens the message"
        )
    signed, suite = _told(message), SUITES[message.ciphered_content[0] & 0x0F]
    size = suite.public_length
    if not size:
        raise UnknownKey(f"suite {suite.id} agrees on no keys")
    signer = keys.curves.signers.get(layer.originator)
    if signer is not None:
        signer.verify(signed[size:], signed[:size])
    point = AgreementPoint(curve(suite.curve), signed[:size])
    return _agree(keys, layer, message, (ONE_PASS, own, point))


def _told(message: GeneralCiphering) -> bytes:
    """What key-info tells of the key."""
    info = message.key_info
    return info.key_ciphered_data if isinstance(info, WrappedKey | AgreedKey) else b""


def _static(keys: Keys, layer: Layer, message: GeneralCiphering) -> bytes:
    curves = keys.curves
    for mine, other in ((layer.originator, layer.recipient), (layer.recipient, layer.originator)):
        own, point = curves.agreement.get(mine), curves.points.get(other)
        if own is not None and point is not None:
            return _agree(keys, layer, message, (STATIC, own, point))
    raise UnknownKey(
        f"key agreement keys missing: one private and one public of {layer.originator.hex().upper()} and "
        f"{layer.recipient.hex().upper()}"
    )


def _agree(
    keys: Keys, layer: Layer, message: GeneralCiphering, by: tuple[Scheme, AgreementKey, AgreementPoint]
) -> bytes:
    suite = SUITES[message.ciphered_content[0] & 0x0F]
    parties = Parties(layer.originator, layer.recipient, layer.transaction_id)
    form = AS_PRINTED if "algorithm_id" in keys.options else CORRECTED
    try:
        return agree(suite, *by, parties, form=form)
    except ProtectionError:
        raise
    except MetersealError as error:
        raise UnknownKey(f"the keys held do not fit the suite of the frame: {error}") from None


_FINDERS: Final[dict[str, Callable[[Keys, Layer, GeneralCiphering], bytes]]] = {
    "wrapped": _wrapped,
    "one-pass": _one_pass,
    "static": _static,
    "bare": _static,
}
"""How the key of each fresh form is found."""
