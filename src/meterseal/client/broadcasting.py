"""Telling a group of meters something under their broadcast key (GBEK): unconfirmed, and nobody answers."""

from __future__ import annotations

from functools import partial
from typing import Final

from meterseal.apdu import ciphered
from meterseal.apdu.common import AttributeDescriptor
from meterseal.apdu.services import SetRequestNormal
from meterseal.client.elements import Write
from meterseal.client.session import Session
from meterseal.client.steps import Send, Steps, Work
from meterseal.client.verbs import Verbs
from meterseal.errors import Misuse
from meterseal.keys.counters import key_id

_UNCONFIRMED: Final = 0x01
_PROTECTED: Final = ciphered.SC_AUTHENTICATED | ciphered.SC_ENCRYPTED | ciphered.SC_BROADCAST


def broadcast(session: Session, verbs: Verbs, write: Write, gbek: bytes | None) -> Steps[None]:
    """Write an attribute under a GBEK, the credentials' when None; that it was sent is all that is known.

    Raises Misuse where there is no such key, KeyLength, and what `CounterStore.reserve` raises.
    """
    operation = yield from verbs.operation(write)
    octets = session.plan.role.octets("gbek") if gbek is None else gbek
    setup = session.association.profile.setup
    if octets is None or setup.unicast is None:
        raise Misuse("nothing is broadcast without a GBEK in an association with keys")
    name = AttributeDescriptor(operation.class_id, operation.instance, operation.member)
    if operation.data is None:
        raise Misuse("a value is wanted")
    apdu = SetRequestNormal(_UNCONFIRMED, name, operation.selection, operation.data).encode()
    handle, title = setup.unicast.handle.with_key(octets), setup.own_title
    state = session.shared.state
    reserve = partial(state.counters.reserve, key_id(handle.kcv, title, "tx"), 1, 1)
    counter, _ = yield Work(reserve, state.slow)
    sc = _PROTECTED | setup.suite.id
    body = handle.seal(sc, title + counter.to_bytes(4, "big"), apdu)
    form = ciphered.FORMS[ciphered.GLO_TAG[apdu[0]]]
    yield Send(session.plan.pair, ciphered.build(form, title, sc, counter, body))
