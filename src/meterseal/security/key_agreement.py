"""Method key_agreement of class 64, from either end: C(2e,0s) with signed ephemeral keys (security 12).

key_data is Qe || sign(key_id || Qe).  U is the client that calls the method, V the meter: their titles go
into the KDF, their signature keys vouch for the ephemeral ones.  An ephemeral key serves one agreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meterseal.crypto import AgreementKey, AgreementPoint, SigningKey, Suite, VerifyingKey, curve
from meterseal.errors import Malformed
from meterseal.keys.kinds import KEK
from meterseal.security.agreement import AS_PRINTED, CORRECTED, EPHEMERAL, Parties, Use, agree


def offer(key_id: int, ephemeral: AgreementKey, signing: SigningKey) -> bytes:
    """The key_data that this end sends."""
    point = ephemeral.public.octets
    return point + signing.sign(bytes((key_id,)) + point)


def offered(suite: Suite, key_id: int, key_data: bytes, signer: VerifyingKey) -> AgreementPoint:
    """The ephemeral key in the peer's key_data, on its curve and signed for this key id.

    Raises Malformed, Forged, Unsupported (suite 0).
    """
    on = curve(suite.curve)
    length = suite.public_length + suite.signature_length
    if len(key_data) != length:
        raise Malformed(f"key_data of {len(key_data)} octets: suite {suite.id} has {length}")
    octets, signature = key_data[: suite.public_length], key_data[suite.public_length :]
    signer.verify(signature, bytes((key_id,)) + octets)
    return AgreementPoint(on, octets)


def agreed(
    suite: Suite,
    key_id: int,
    own: AgreementKey,
    peer: AgreementPoint,
    parties: Parties,
    options: frozenset[str] = frozenset(),
) -> bytes:
    """The octets of the new key; the own ephemeral key is destroyed.  `parties` are client and meter.

    `options` are those of the peer: `algorithm_id` is the one that counts here.
    """
    use = Use.WRAP if key_id == KEK else Use.GCM
    form = AS_PRINTED if "algorithm_id" in options else CORRECTED
    try:
        return agree(suite, EPHEMERAL, own, peer, parties, use=use, form=form)
    finally:
        own.destroy()


def question(
    suite: Suite, key_ids: Iterable[int], signing: SigningKey
) -> tuple[dict[int, AgreementKey], list[tuple[int, bytes]]]:
    """The client's first half, a pure call: an ephemeral key for each key id, and the items to send."""
    ephemeral = {key_id: AgreementKey.generate(curve(suite.curve)) for key_id in key_ids}
    return ephemeral, [(key_id, offer(key_id, key, signing)) for key_id, key in ephemeral.items()]


def conclusion(
    suite: Suite,
    answers: Mapping[int, bytes],
    ephemeral: Mapping[int, AgreementKey],
    signer: VerifyingKey,
    parties: Parties,
    options: frozenset[str] = frozenset(),
) -> dict[int, bytes]:
    """The client's second half, a pure call: the new keys by id, by the key_data that the meter answers.

    All of what the meter offers is verified first.  Raises as `offered`.
    """
    points = {key_id: offered(suite, key_id, key_data, signer) for key_id, key_data in answers.items()}
    return {
        key_id: agreed(suite, key_id, ephemeral[key_id], point, parties, options)
        for key_id, point in points.items()
    }


def answer(
    suite: Suite,
    items: Iterable[tuple[int, bytes]],
    signer: VerifyingKey,
    signing: SigningKey,
    parties: Parties,
    options: frozenset[str] = frozenset(),
) -> tuple[list[tuple[int, bytes]], dict[int, bytes]]:
    """The meter's side as a whole, a pure call: key_data for each key id, and the new keys by id.

    All of what the client offers is verified first.  Raises as `offered`.
    """
    points = {key_id: offered(suite, key_id, key_data, signer) for key_id, key_data in items}
    answers: list[tuple[int, bytes]] = []
    new: dict[int, bytes] = {}
    for key_id, point in points.items():
        ephemeral = AgreementKey.generate(curve(suite.curve))
        answers.append((key_id, offer(key_id, ephemeral, signing)))
        new[key_id] = agreed(suite, key_id, ephemeral, point, parties, options)
    return answers, new
