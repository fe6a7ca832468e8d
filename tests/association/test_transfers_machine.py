"""Block transfers of a meter under any sequence of blocks, right, wrong, repeated and left out (F11)."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meterseal import apdu
from meterseal.apdu import services as s
from meterseal.apdu.common import AttributeDescriptor, DataBlock, MethodDescriptor
from meterseal.association import Indication, Refusal, Released, Reply, State, TransferMemory
from meterseal.association.transfer import Transfer
from meterseal.errors import TimedOut
from meterseal.framing import gbt
from meterseal.framing.gbt import Block
from tests.association.pair import CLOCK, REGISTER, SWITCH, Pair, associated, octet_string, replies

LIMIT = 2000
SIZE = 100
VALUE = octet_string(bytes(range(200)))
WHOLE = s.SetRequestNormal(0xC1, AttributeDescriptor(8, CLOCK, 2), None, VALUE).encode()
ATTRIBUTE, METHOD = AttributeDescriptor(8, CLOCK, 2), MethodDescriptor(70, SWITCH, 1)

INVOKES = st.sampled_from([0xC1, 0xC1, 0xC1, 0xC2])
NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 63, 64, 65, 0xFFFF])
RAW = st.sampled_from([VALUE.raw[:80], VALUE.raw[80:], VALUE.raw, b"", b"\x00", bytes(1500)])


class Transfers(RuleBasedStateMachine):
    """A meter without ciphering, so that any octets get as far as the transfers themselves."""

    @initialize()
    def sign_on(self) -> None:
        self.memory = TransferMemory(LIMIT)
        self.pair: Pair = associated(
            mechanism=0,
            ciphered=False,
            client={"max_pdu": SIZE, "options": frozenset({"prefers_gbt"})},
            server={"reassembly_limit": LIMIT},
        )
        self.pair.server._memory, self.pair.server._share = self.memory, "here"
        self.pair.plant.values[REGISTER, 2] = octet_string(bytes(600)).raw
        self.sender: Transfer | None = None
        self.queue: list[bytes] = []
        self.sent_whole = 0

    def deliver(self, octets: bytes) -> list[Any]:
        effects = self.pair.to_meter(octets)
        for effect in effects:
            assert isinstance(effect, Reply | Refusal | Indication | Released)
        for answer in replies(effects):
            if answer[0] == gbt.TAG:
                block = gbt.decode(answer)
                transfer = self.pair.server._transfer
                assert transfer is None or block.acknowledged <= transfer._received
                assert len(answer) <= SIZE
            else:
                apdu.decode(answer)
        return effects

    # --- general block transfer -------------------------------------------------------------------------

    @rule(
        number=NUMBERS,
        acknowledged=st.integers(0, 5),
        window=st.integers(0, 63),
        last=st.booleans(),
        streaming=st.booleans(),
        data=RAW,
    )
    def any_block(self, **fields: Any) -> None:
        self.sender = None
        self.deliver(gbt.encode(Block(**fields)))

    @rule()
    def begin(self) -> None:
        """A request that is right, block by block, if nothing comes between."""
        self.sender = Transfer(size=SIZE, window=4, limit=1 << 16)
        self.queue = list(self.sender.send(WHOLE))

    @rule(lose=st.sampled_from([False, False, False, True]), twice=st.booleans())
    def go_on(self, lose: bool, twice: bool) -> None:
        if self.sender is None:
            return
        if not self.queue:
            try:
                self.queue = list(self.sender.again())
            except TimedOut:
                self.sender = None
                return
        octets = self.queue.pop(0)
        if lose:
            return
        before = len(self.pair.plant.done)
        effects = self.deliver(octets)
        if twice:
            effects += self.deliver(octets)
        for answer in replies(effects):
            if answer[0] != gbt.TAG:
                self.sender = None
                return
            taken = self.sender.take(gbt.decode(answer))
            self.queue += taken.send
            if taken.whole is not None:
                assert taken.whole == bytes.fromhex("C501C100")
                assert len(self.pair.plant.done) > before or self.sent_whole
                self.sent_whole += 1
                self.sender = None
                return

    # --- service-specific -------------------------------------------------------------------------------

    @rule(form=st.integers(0, 3), invoke=INVOKES, number=NUMBERS, last=st.booleans(), raw=RAW)
    def service_block(self, form: int, invoke: int, number: int, last: bool, raw: bytes) -> None:
        block = DataBlock(last, number, raw)
        message = (
            s.SetRequestWithFirstDatablock(invoke, ATTRIBUTE, None, block),
            s.SetRequestWithDatablock(invoke, block),
            s.ActionRequestWithFirstPblock(invoke, METHOD, block),
            s.ActionRequestWithPblock(invoke, block),
        )[form]
        self.sender = None if form in (0, 2) else self.sender
        self.deliver(message.encode())

    @rule(action=st.booleans(), invoke=INVOKES, number=NUMBERS)
    def next_block(self, action: bool, invoke: int, number: int) -> None:
        self.deliver((s.ActionRequestNextPblock if action else s.GetRequestNext)(invoke, number).encode())

    # --- between them ------------------------------------------------------------------------------------

    @rule(instance=st.sampled_from([REGISTER, CLOCK]))
    def read(self, instance: bytes) -> None:
        """A plain request ends what was half sent, and is answered."""
        self.sender = None
        request = s.GetRequestNormal(0xC1, AttributeDescriptor(8, instance, 2), None).encode()
        assert replies(self.deliver(request))

    @rule()
    def time_passes(self) -> None:
        self.pair.server.timed_out()
        assert not self.pair.server.half_open
        self.sender = None

    @rule()
    def lose(self) -> None:
        self.pair.server.lose_transfer()
        self.memory.keep(self.pair.server, "here", 0)
        self.sender = None

    @rule()
    def begin_anew(self) -> None:
        """Release in mid-transfer, and another association: nothing of the old one is left."""
        self.pair.release()
        assert not self.pair.server.half_open and self.memory.total == 0
        self.pair.sign_on()
        self.sender = None

    # --- what holds at any time ---------------------------------------------------------------------------

    @invariant()
    def bounded(self) -> None:
        server = self.pair.server
        assert self.memory.total == server._kept <= 2 * LIMIT + 600
        assert server.state is State.ASSOCIATED
        assert server._parked is None and not server._indicated and not server._by_blocks

    @invariant()
    def written_whole_or_not_at_all(self) -> None:
        for operation in self.pair.plant.done:
            assert operation.data is None or operation.data.raw in _WRITABLE


_WRITABLE = {VALUE.raw, b"\x00"}
"""What pieces of RAW make when they are one whole value."""

TestTransfers = Transfers.TestCase
TestTransfers.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
