"""Events: what a meter tells a client unasked, inside its association (EventNotification, acse-xdlms 5)."""

from __future__ import annotations

from meterseal.apdu.common import AttributeDescriptor
from meterseal.apdu.services import EventNotificationRequest
from meterseal.association.effects import Effect, Refusal, Reply
from meterseal.association.judging import SUITE_BITS, answer_protection
from meterseal.association.operations import Operation
from meterseal.association.profile import EVENTS
from meterseal.association.serving import Serving, own_style
from meterseal.association.states import ASSOCIATED, State
from meterseal.codec.data import Data
from meterseal.cosem.rights import READ
from meterseal.errors import MetersealError, TooLarge
from meterseal.security import protect


class Notifying(Serving):
    """The part of a meter's association that speaks by itself."""

    state: State

    def notify(self, attribute: Operation, value: Data, time: bytes | None = None) -> list[Effect]:
        """The value of an attribute as an EventNotification; `time` has 12 octets.

        It is protected as policy and right ask of an answer.  Nothing is said where the association does not
        stand or is at work, where this was not negotiated, and of what the client may not read or only under
        a signature.
        """
        if self.state is not ASSOCIATED or not self.negotiated & EVENTS:
            return []
        if self._parked is not None or self._indicated:
            return []
        profile, right = self.profile, self.profile.view.right(attribute, self.user) or 0
        required = answer_protection(profile.setup, 0, (right,)) if profile.ciphered else 0
        if not right & READ or required & ~SUITE_BITS:
            return []
        descriptor = AttributeDescriptor(attribute.class_id, attribute.instance, attribute.member)
        octets = EventNotificationRequest(time, descriptor, value).encode()
        return self._with_counters(1, self._told, octets, required)

    def _told(self, octets: bytes, required: int) -> list[Effect]:
        try:
            if required:
                style = own_style(False, self.context.dedicated is not None)
                octets = protect(self.context, octets, required, style)
            if len(octets) > self._reaches:
                raise TooLarge(f"an event of {len(octets)} octets, {self._reaches} reach the client")
            return [Reply(octets)]
        except MetersealError as error:
            return [Refusal(error, "telling of an event")]
