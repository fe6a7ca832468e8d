"""Requests of a client: what is asked, under which protection, whole or in blocks, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from meterseal.apdu.access import INVOKE_ID
from meterseal.apdu.ciphered import GLO_TAG
from meterseal.apdu.common import SHORT_INVOKE_ID
from meterseal.association.accessing import AskingAccess
from meterseal.association.asking import Asking
from meterseal.association.blocks import PROTECTION_OVERHEAD, TITLE_OVERHEAD
from meterseal.association.carrying import Carrying
from meterseal.association.effects import Effect, Reply, made
from meterseal.association.general_blocks import GeneralBlocks
from meterseal.association.opening import Opening
from meterseal.association.operations import Operation
from meterseal.association.profile import BLOCKS, ClientProfile
from meterseal.association.states import ASSOCIATED, IDLE, State
from meterseal.association.transfer import LARGEST, Transfer
from meterseal.association.usual import ANSWERED, ASKED, CONFIRMED_HIGH, UsualGet
from meterseal.errors import (
    Misuse,
    ProtocolViolation,
    TimedOut,
    TooLarge,
    TooWeak,
    Unsupported,
)
from meterseal.framing.gbt import MAX_WINDOW, Block
from meterseal.security import SIGNED, Context, Opened, Style
from meterseal.security.keyforms import is_fresh
from meterseal.security.layers import CIPHERING, SIGNING, Layer, Layers, overhead
from meterseal.security.prepared import BOTH, Sealing, Unsealing, fits
from meterseal.security.protect import planned, protecting
from meterseal.security.protection import text
from meterseal.security.sealed import Sealed
from meterseal.security.steps import Steps

AnyAsking = Asking | AskingAccess | Carrying

Read: TypeAlias = tuple[int, str | bytes, int]
"""Class, logical name (octets; text is none that was asked before) and index of an attribute, as a whole."""

_TRANSACTION = 8
_KEPT = 64
"""Reads that an association keeps prepared."""


class Requesting(GeneralBlocks):
    """The part of a client's association that stands: requests out, one at a time."""

    profile: ClientProfile
    _transaction: bytes
    _layers: Layers
    _added: int

    def __init__(self, profile: ClientProfile) -> None:
        super().__init__(profile.setup)
        self.profile = profile
        self.state = IDLE
        self._opening = Opening(profile)
        self.negotiated = 0
        self.server_max_pdu = 0
        self.server_title: bytes | None = profile.setup.peer_title
        self.context = Context(profile.setup, self.server_title)
        self._asking: AnyAsking | None = None
        self._invoke = self._long_invoke = 0
        self._fresh_keys = is_fresh(profile.layers)
        # Requests that ended without their answer: it may still come, and is nobody else's.
        self._given_up: set[int | bytes] = set()
        self._usual: dict[Read, UsualGet] = {}
        self._latest: UsualGet | None = None  # one of them

    def request(
        self,
        operations: Sequence[Operation],
        *,
        access: bool = False,
        stops: bool = False,
        described: bool = False,
        added: int = 0,
    ) -> list[Effect]:
        """Ask for one operation, or several of the same service as a list; of any by ACCESS.

        With `access`, `stops` asks the meter to do nothing after the first element that fails,
        `described` to repeat in its answer what was asked.  `added` is protection beyond the policy
        (SIGNED) that this request carries and its answer must carry.

        Raises Misuse when not associated or busy, Unsupported when the services in question were
        not negotiated, TooLarge when the request cannot be cut to the meter's size, TimedOut when
        so many requests were given up that no invoke-id is left to tell their answers from others.
        """
        self._must_stand(ASSOCIATED)
        if self._asking is not None:
            raise Misuse("a request is under way in this association")
        asked, negotiated = tuple(operations), self.negotiated
        if UsualGet.is_one(asked) and not access and not added:
            octets = self.again(asked[0][1:4])
            if octets is not None:
                return [Reply(octets)]
        self._next_transaction(added)
        asking: AnyAsking
        if access:
            self._long_invoke = self._long_invoke + 1 & INVOKE_ID
            asking = AskingAccess(asked, self._long_invoke, negotiated, stops=stops, described=described)
        else:
            profile, room = self.profile, self._room()
            agreed = (negotiated, room, profile.reassembly_limit, profile.options)
            asking = self._asking_for(asked, self._next_invoke(), agreed)
        return self._begin(asking, access)

    def _asking_for(self, asked: tuple[Operation, ...], invoke: int, agreed: tuple[Any, ...]) -> Asking:
        """A read that will look the same the next time is kept for then."""
        if not UsualGet.is_one(asked) or not self._repeats():
            return Asking(asked, invoke, *agreed)
        style, most = self._style(ASKED), self.profile.max_pdu
        asking = UsualGet(
            asked, invoke, *agreed,
            sealing=Sealing(self.context, ASKED, style),
            unsealing=Unsealing(self.context, ANSWERED, style, most),
        )  # fmt: skip
        if len(self._usual) >= _KEPT:
            self._usual.clear()
        self._usual[asking.read] = self._latest = asking
        return asking

    def _repeats(self) -> bool:
        """True where reads and answers go whole, authenticated and encrypted, no more and no less."""
        one_layer = not self._layers and self._applied == BOTH and not self._opening.answer_minimum & ~BOTH
        return one_layer and not self.negotiated & BLOCKS and fits(self.context, ASKED, self._style(ASKED))

    def again(self, read: Read) -> bytes | None:
        """A read once more, sealed; None where the general road would come to something else, or may."""
        usual = self._latest
        if usual is None or usual.read != read:
            usual = self._usual.get(read)
            if usual is None:
                return None
            self._latest = usual
        if self._asking is not None or self._parked is not None:
            return None
        invoke, given_up = self._invoke + 1 & SHORT_INVOKE_ID, self._given_up
        if self.state is not ASSOCIATED or (given_up and invoke in given_up):
            return None
        sealed = usual.again(invoke)
        if sealed is not None:
            self._invoke, self._asking = invoke, usual
            self._transfer = self._pieces = None
            if self._layers or self._added:  # of the request before
                self._added, self._layers = 0, ()
        return sealed

    def forward(self, sealed: Sealed) -> list[Effect]:
        """Carry what somebody else has sealed for the meter; ends with `Carried`, or `Failed`.

        Raises Misuse when not associated or busy, Unsupported without general protection, TooLarge when
        the meter does not take it whole and takes no blocks.
        """
        self._must_stand(ASSOCIATED)
        if self._asking is not None:
            raise Misuse("a request is under way in this association")
        if not self.context.general:
            raise Unsupported("general protection was not negotiated, and what is sealed asks for it")
        self._next_transaction()
        room = self._room()
        if room is not None and sealed.size > room and not self.negotiated & BLOCKS:
            raise TooLarge(f"{sealed.size} sealed octets, and the meter takes {room} at once")
        return self._begin(Carrying(sealed), True)

    def _begin(self, asking: AnyAsking, in_blocks: bool) -> list[Effect]:
        octets = asking.first()
        self._end_transfer()
        effects = self._with_counters(1, self._seal_request, octets, in_blocks)
        self._asking = asking
        return effects

    def _seal_request(self, octets: bytes, in_blocks: bool) -> list[Effect]:
        sealed = self._sealed(octets)
        if isinstance(sealed, bytes):
            return self._send_request(sealed, in_blocks)
        return self._advance(sealed, None, lambda octets: self._send_request(octets, in_blocks))

    def _send_request(self, octets: bytes, in_blocks: bool) -> list[Effect]:
        """As it is, or where they were agreed in blocks: long requests, and what has long answers."""
        size = self.server_max_pdu or self.profile.within(LARGEST)
        if not self.negotiated & BLOCKS or not (in_blocks or size < len(octets)):
            return [Reply(octets)]
        return [Reply(block) for block in self._begin_transfer(size).send(octets)]

    def timed_out(self) -> list[Effect]:
        """The time for an answer has passed: blocks that are missing are asked for again.

        Empty where no general block transfer is under way; `Failed` when that has been tried often enough.
        """
        transfer = self._transfer
        if transfer is None or self._parked is not None:
            return []
        return self._guarded(lambda: [Reply(octets) for octets in transfer.again()], "waiting for blocks")

    def _must_stand(self, state: State) -> None:
        if self.state is not state:
            raise Misuse(f"the association is {self.state.value}, not {state.value}")
        if self._parked is not None:
            raise Misuse("invocation counters are being reserved for an earlier call")

    def _next_invoke(self) -> int:
        for step in range(1, SHORT_INVOKE_ID + 2):
            invoke = (self._invoke + step) & SHORT_INVOKE_ID
            if invoke not in self._given_up:
                self._invoke = invoke
                return CONFIRMED_HIGH | invoke
        raise TimedOut("too many requests of this association were never answered: sign on anew")

    def _put_aside(self) -> None:
        if self._asking is not None:
            self._given_up.add(self._asking.identity)
            self._asking = None
        self._end_transfer()

    # --- what is under way --------------------------------------------------------------------

    def _asked(self, message: Any) -> AnyAsking:
        if self._asking is None:
            raise ProtocolViolation(f"a {message.name} that nobody asked for")
        return self._asking

    def _check_protection(self, opened: Opened) -> None:
        required = self._opening.answer_minimum
        if self._added:
            required |= self._added & ~self.profile.waived
        if required & ~opened.applied:
            raise TooWeak(f"the answer is {text(opened.applied)}, less than {text(required)}")
        # A layer that the request did not have belongs to no exchange that has a name.
        transaction = self._transaction if self._layers else b""
        if opened.layers and any(layer.transaction_id != transaction for layer in opened.layers):
            raise ProtocolViolation("the answer is of another exchange: it has another transaction-id")

    @property
    def _answers_repeats(self) -> bool:
        """Over datagrams the meter does, who asks asks again when its time has passed."""
        return not self.profile.datagrams

    def _transfer_of(self, block: Block) -> Transfer | None:
        if self._transfer is not None:
            return self._transfer
        if self._asking is not None and not block.acknowledged and block.number <= MAX_WINDOW:
            return self._begin_transfer(self.server_max_pdu)
        if self._given_up:
            return None  # of a transfer that was given up
        raise ProtocolViolation("blocks that nobody asked for")

    # --- protection and size ------------------------------------------------------------------

    def _sealed(self, octets: bytes) -> bytes | Steps[bytes]:
        applied = self._applied
        if not applied:
            return octets
        if self._layers and not self.context.general:
            raise Unsupported("general protection was not negotiated, and the request asks for it")
        return protecting(self.context, octets, applied, self._style(octets[0]), self._layers)

    @property
    def _applied(self) -> int:
        profile = self.profile
        return profile.setup.asks_of_request | self._added if profile.ciphered else 0

    def _send(self, octets: bytes) -> list[Effect]:
        sealed = self._sealed(octets)
        if type(sealed) is bytes:
            return [made(Reply, (sealed, False))]
        return self._through(sealed, lambda octets: [Reply(octets)])

    def _begin_transactions(self, first: bytes) -> None:
        """Where the policy or the profile asks for layers, `first` is 8 octets.  Raises Misuse."""
        self._transaction, self._layers, self._added = first, (), 0
        self._check_transactions()

    def _check_transactions(self) -> bool:
        """True where this exchange goes in layers.  Raises Misuse when transaction-ids have no start."""
        profile = self.profile
        signed = profile.ciphered and (profile.setup.asks_of_request | self._added) & SIGNED
        in_layers = bool(signed or profile.layers)
        if in_layers and len(self._transaction) != _TRANSACTION:
            raise Misuse(f"layers need {_TRANSACTION} random octets for their transaction-ids")
        return in_layers

    def _next_transaction(self, added: int = 0) -> None:
        """A new exchange: all its messages and answers carry the next transaction-id, and `added`."""
        if added and not self.profile.ciphered:
            raise Misuse("a context without ciphering carries no signatures")
        self._added = added
        if not self._check_transactions():
            self._layers = ()
            return
        following = int.from_bytes(self._transaction, "big") + 1 & (1 << 8 * _TRANSACTION) - 1
        self._transaction = following.to_bytes(_TRANSACTION, "big")
        signed = Layer(SIGNING, b"", b"", self._transaction)
        ciphered = Layer(CIPHERING, b"", b"", self._transaction, self.profile.layers)
        self._layers = (ciphered, signed) if self.profile.layers else (signed,)

    def _style(self, tag: int) -> Style:
        if self.profile.layers:
            return Style.LAYERED
        dedicated = self.context.dedicated is not None
        if (self.profile.general or tag not in GLO_TAG) and self.context.general:
            return Style.GENERAL_DED if dedicated else Style.GENERAL_GLO
        return Style.DED if dedicated else Style.GLO

    def _room(self) -> int | None:
        """The largest plain APDU that the meter takes once it is protected; None for any, also in blocks."""
        if self._prefers_blocks:
            return None
        size = self.server_max_pdu or self.profile.within(LARGEST)
        around = PROTECTION_OVERHEAD + TITLE_OVERHEAD if self.profile.ciphered else 0
        if self._layers:
            around += overhead(planned(self._applied, self._layers), self._setup.suite)
        if size <= around:
            raise TooLarge("the meter's PDU size leaves no room for a request")
        return size - around
