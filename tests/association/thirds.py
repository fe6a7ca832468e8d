"""A meter with a third party, the client that carries for it, and the third party's own end."""

from __future__ import annotations

from typing import Any

from meterseal import apdu
from meterseal.apdu import services as s
from meterseal.apdu.common import AttributeDescriptor, MethodDescriptor
from meterseal.association import Carried, Effect, Failed, Reply
from meterseal.association.profile import ThirdParty
from meterseal.codec.data import Data
from meterseal.crypto import AgreementKey, SigningKey, WrappingKey, curve, suite
from meterseal.errors import MetersealError
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import (
    AUTHENTICATED,
    ENCRYPTED,
    SIGNED,
    Context,
    SecuritySetup,
    Style,
    protect,
    unprotect,
)
from meterseal.security.context import Counted
from meterseal.security.directory import KnownKeys
from meterseal.security.layers import CIPHERING, SIGNING, Layer, Layers
from meterseal.security.protection import policy_bits
from meterseal.security.sealed import Sealed
from tests.association.pair import CLIENT_TITLE, METER_TITLE, REGISTER, SWITCH, Pair, View

UTILITY = b"MSLUTI01"
BOTH = AUTHENTICATED | ENCRYPTED
ALL = BOTH | SIGNED
TRANSACTION = bytes.fromhex("A0A1A2A3A4A5A6A7")
AGREED = ("one-pass", "static")
KEYS = {
    id: {
        title: (SigningKey.generate(curve(name)), AgreementKey.generate(curve(name)))
        for title in (UTILITY, METER_TITLE, CLIENT_TITLE)
    }
    for id, name in ((1, "P-256"), (2, "P-384"))
}
KEK = bytes(range(0x60, 0x70))
CHALLENGE = bytes(range(0x10, 0x50))


def setup(own: bytes, peer: bytes, suite_id: int, policy: int) -> SecuritySetup:
    """One end's keys toward the other: pairs of curve keys, in suite 0 a KEK."""
    made = SecuritySetup(suite(suite_id), own, peer, policy)
    made.fresh = Counted(SendCounter(1, 100_000), ReceiveCounter(), f"{own.hex()}-{peer.hex()}")
    if not suite_id:
        made.master = WrappingKey(KEK)
        return made
    known = KnownKeys()
    made.signing, made.agreement = KEYS[suite_id][own]
    signing, agreement = KEYS[suite_id][peer]
    known.signing[peer], known.agreement[peer] = signing.public, agreement.public
    made.directory = known
    return made


class Carrier(Pair):
    """A pair whose meter knows one third party; `utility` is that one's own end."""

    def __init__(self, suite_id: int = 1, *, form: str = "", signed: bool | None = None, **more: Any) -> None:
        signed = bool(suite_id) if signed is None else signed
        policy = policy_bits(*[ALL if signed else BOTH] * 2)
        self.form = form or ("one-pass" if suite_id else "wrapped")
        self.limits = View()
        self.third = ThirdParty(
            name="utility", setup=setup(METER_TITLE, UTILITY, suite_id, policy), view=self.limits
        )
        server = {"third_parties": {UTILITY: self.third}, **more.pop("server", {})}
        super().__init__(suite_id=suite_id, server=server, **more)
        ours = setup(UTILITY, METER_TITLE, suite_id, policy)
        self.utility = Context(
            ours, METER_TITLE, minimum=BOTH, general=True, options=frozenset({"ak_in_use"})
        )
        self.applied = ALL if signed else BOTH

    def layers(self, transaction: bytes = TRANSACTION) -> Layers:
        """The layers of one exchange."""
        ciphered = Layer(CIPHERING, b"", b"", transaction, self.form)
        signed = (Layer(SIGNING, b"", b"", transaction),) if self.applied & SIGNED else ()
        return (ciphered, *signed)

    def seal(self, octets: bytes, transaction: bytes = TRANSACTION) -> Sealed:
        """A plain APDU, sealed by the utility for the meter."""
        layers = self.layers(transaction)
        return Sealed.of(protect(self.utility, octets, self.applied, Style.LAYERED, layers))

    def carry(self, sealed: Sealed) -> Sealed:
        """The sealed answer that the client brings back."""
        (effect,) = self.run(self.client.forward(sealed))
        assert isinstance(effect, Carried), (effect, self.refusals)
        return effect.sealed

    def refused(self, sealed: Sealed) -> MetersealError:
        """What the client is told where nothing sealed comes back."""
        (effect,) = self.run(self.client.forward(sealed))
        assert isinstance(effect, Failed), effect
        return effect.error

    def opened(self, sealed: Sealed) -> Any:
        """The message inside an answer, as the utility opens it."""
        found = unprotect(self.utility, sealed.octets)
        assert found.applied == self.applied
        return apdu.decode(found.apdu)

    def ask(self, *operations: Any) -> list[Effect]:
        """A request of the client itself."""
        return super().ask(*operations)


def carrier(suite_id: int = 1, **more: Any) -> Carrier:
    """One whose client has signed on."""
    made = Carrier(suite_id, **more)
    challenge = CHALLENGE[: made.client.profile.scheme.drawn]
    made.run(made.client.associate(challenge, bytes(8)))
    assert made.client.state.value == "associated", made.refusals
    return made


def get(member: int = 2, instance: bytes = REGISTER, class_id: int = 3, invoke: int = 0xC1) -> bytes:
    """A get-request."""
    return s.GetRequestNormal(invoke, AttributeDescriptor(class_id, instance, member), None).encode()


def put(value: Data, member: int, instance: bytes, class_id: int, invoke: int = 0xC1) -> bytes:
    """A set-request."""
    return s.SetRequestNormal(invoke, AttributeDescriptor(class_id, instance, member), None, value).encode()


def switch(invoke: int = 0xC1) -> bytes:
    """An action-request that opens the supply switch."""
    return s.ActionRequestNormal(invoke, MethodDescriptor(70, SWITCH, 1), None).encode()


__all__ = [
    "AGREED", "ALL", "BOTH", "CHALLENGE", "CLIENT_TITLE", "KEK", "KEYS", "METER_TITLE", "TRANSACTION",
    "UTILITY", "Carrier", "Reply", "carrier", "get", "put", "setup", "switch",
]  # fmt: skip
