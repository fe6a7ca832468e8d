"""Association LN (class 15), versions 0 to 3: what a client may know and change of its association.

One `Association` per client SAP and logical device, named 0.0.40.0.e.255 with e the client SAP; the
association of the asker is also 0.0.40.0.0.255 (`CurrentAssociation`).  Sign-on itself is not here: the
association machine answers reply_to_HLS_authentication before anything reaches an object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from meterseal.apdu import acse
from meterseal.apdu.initiate import DLMS_VERSION
from meterseal.association import Operation, Outcome, ServerProfile, Service
from meterseal.association.repeating import Again
from meterseal.codec.types import Array, BitString, MixedArray, Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import (
    CURRENT_ASSOCIATION,
    ObjectEntry,
    decode_element,
    encode_object_list,
    select_objects,
)
from meterseal.cosem.selection import ObjectSelection, Selection
from meterseal.crypto import Secret
from meterseal.errors import Malformed
from meterseal.meter import view as views
from meterseal.meter.objects import (
    OBJECT_UNDEFINED,
    OTHER_REASON,
    SCOPE_VIOLATED,
    TYPE_UNMATCHED,
    Asker,
    CosemObject,
    Denied,
    Value,
)
from meterseal.meter.store import MeterStore
from meterseal.meter.view import User, View
from meterseal.security import ENCRYPTED
from meterseal.security.steps import Steps

NO_SETUP: Final = Obis("0.0.0.0.0.0")
_USER: Final = Structure((Tag.UNSIGNED, Tag.VISIBLE_STRING))
_CONTEXT_INFO: Final = Structure(
    (Tag.BIT_STRING, Tag.LONG_UNSIGNED, Tag.LONG_UNSIGNED, Tag.UNSIGNED, Tag.INTEGER, Tag.OCTET_STRING)
)
SHORTEST_SECRET, LONGEST_SECRET = 8, 64
MOST_USERS, LONGEST_NAME = 64, 32
NOT_ASSOCIATED, PENDING, ASSOCIATED = 0, 1, 2


class Association(CosemObject):
    """The association of one client SAP with one logical device: profile, view, users, secret.

    `setup_name` is the Security setup it refers to; `place` the prefix under which changes are kept.
    `status` is set by the party: NOT_ASSOCIATED, PENDING or ASSOCIATED, whatever the connection.
    """

    def __init__(
        self,
        role: str,
        profile: ServerProfile,
        view: View,
        store: MeterStore,
        *,
        version: int,
        setup_name: Obis | None,
        place: str,
        secret: Secret | None = None,
    ) -> None:
        super().__init__(15, Obis("0.0.40.0.0.255").with_group("E", profile.client_sap), version)
        self.role, self.profile, self.view = role, profile, view
        view.changes = profile.setup.changes
        self.setup_name, self.place, self._store = setup_name, place, store
        self.status: Callable[[], int] = lambda: NOT_ASSOCIATED
        self._secret = secret
        kept = store.get(f"{place}/secret")
        if secret is not None and kept is not None:
            self._secret = Secret(bytes.fromhex(kept))
        profile.secret, profile.users = self._reveal, self._names
        self._offer()

    def _offer(self) -> None:
        scheme, ciphered = self.profile.scheme, self.profile.ciphered
        self.readers |= {
            2: lambda asker: self._list(self.view.entries(self._person(asker))),
            3: self._partners,
            4: lambda asker: (acse.context_name(3 if ciphered else 1), Tag.OCTET_STRING),
            5: self._context_info,
            6: lambda asker: (acse.mechanism_name(scheme.number), Tag.OCTET_STRING),
            8: lambda asker: (ASSOCIATED if asker.association is self else self.status(), Tag.ENUM),
        }
        self.selectors[2] = self._select_list, (1, 2, 3, 4)
        if self.version >= 1:
            self.readers[9] = lambda asker: (self.setup_name or NO_SETUP, Tag.OCTET_STRING)
        if self.version >= 2:
            self.readers |= {10: self._user_list, 11: self._current_user}
            self.callers |= {5: self._add_user, 6: self._remove_user}
        self.callers |= {3: self._add_object, 4: self._remove_object}
        if scheme.passes == 4:
            self.callers[1] = self._already
        if scheme.needs_secret:
            self.writers[7] = self._set_secret
            self.callers[2] = self._set_secret

    # --- attributes -------------------------------------------------------------------------

    def _person(self, asker: Asker) -> int | None:
        """The person whose view counts: of one's own association the asker's, of another nobody's."""
        return asker.user if asker.association is self else None

    def _list(self, entries: list[ObjectEntry]) -> Value:
        return encode_object_list(entries, self.version)

    def _select_list(self, asker: Asker, selection: Selection) -> Value:
        if not isinstance(selection, ObjectSelection):
            raise Malformed("not a selection of an object_list")
        return self._list(select_objects(self.view.entries(self._person(asker)), selection))

    def _partners(self, asker: Asker) -> Value:
        sap = self.profile.client_sap
        # The class says integer: SAPs from 128 on come out as the octet reads signed.
        signed = sap - 256 if sap > 127 else sap
        return (signed, self.profile.server_sap), Structure((Tag.INTEGER, Tag.LONG_UNSIGNED))

    def _context_info(self, asker: Asker) -> Value:
        services, send = self.profile.conformance, 0
        if asker.association is self and asker.live is not None:
            services, send = asker.live.negotiated, asker.live.client_max_pdu
        bits = BitString(services.to_bytes(3, "big"), 24)
        return (bits, self.profile.max_pdu, send, DLMS_VERSION, 0, b""), _CONTEXT_INFO

    def _user_list(self, asker: Asker) -> Value:
        listed = [(number, user.name) for number, user in sorted(self.view.users.items())]
        return listed, Array(_USER) if listed else MixedArray(())

    def _current_user(self, asker: Asker) -> Value:
        person = self._person(asker)
        user = self.view.users.get(person) if person is not None else None
        return ((person or 0, user.name) if user else (0, "")), _USER

    # --- methods ----------------------------------------------------------------------------

    def _already(self, asker: Asker, proof: bytes) -> Value:
        raise Denied(OTHER_REASON, "the sign-on is complete: there is no challenge to reply to")

    def _set_secret(self, asker: Asker, octets: bytes) -> None:
        # Whatever the rights say: a secret that travels in the clear is none.
        if not asker.applied & ENCRYPTED:
            raise Denied(SCOPE_VIOLATED, "a new secret comes encrypted")
        if not SHORTEST_SECRET <= len(octets) <= LONGEST_SECRET:
            raise Denied(OTHER_REASON, f"a secret has {SHORTEST_SECRET} to {LONGEST_SECRET} octets")
        self._store.keep({f"{self.place}/secret": octets.hex().upper()})
        self._secret = Secret(octets)

    def _entry(self, element: object) -> ObjectEntry:
        try:
            return decode_element(element, self.version)
        except Malformed as error:
            raise Denied(TYPE_UNMATCHED, str(error)) from error

    def _add_object(self, asker: Asker, element: object) -> None:
        self._take_view(self.view.with_entry(self._entry(element)))

    def _remove_object(self, asker: Asker, element: object) -> None:
        self._take_view(self.view.without_entry(self._entry(element)))

    def _take_view(self, entries: list[ObjectEntry]) -> None:
        self._store.keep({f"{self.place}/view": views.to_record(entries)})
        self.view.take(entries)

    def _add_user(self, asker: Asker, given: tuple[int, str]) -> None:
        number, name = given
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise Denied(OTHER_REASON, f"a user name has 1 to {LONGEST_NAME} printable characters")
        if number in self.view.users or len(self.view.users) >= MOST_USERS:
            raise Denied(OTHER_REASON, f"user {number} is in the list already, or the list is full")
        self._take_users({**self.view.users, number: User(name)})

    def _remove_user(self, asker: Asker, given: tuple[int, str]) -> None:
        number, name = given
        user = self.view.users.get(number)
        if user is None or user.name != name:
            raise Denied(OBJECT_UNDEFINED, f"user {number} of this name is not in the list")
        self._take_users({n: known for n, known in self.view.users.items() if n != number})

    def _take_users(self, users: dict[int, User]) -> None:
        self._store.keep({f"{self.place}/users": [_user_record(*item) for item in users.items()]})
        self.view.take_users(users)

    # --- for sign-on ------------------------------------------------------------------------

    def _reveal(self) -> bytes:
        return b"" if self._secret is None else self._secret.reveal()

    def _names(self) -> dict[int, str]:
        return {number: user.name for number, user in self.view.users.items()}


class CurrentAssociation(CosemObject):
    """0.0.40.0.0.255: whoever asks sees the own association under this name."""

    def __init__(self, own: Association) -> None:
        super().__init__(15, CURRENT_ASSOCIATION, own.version)
        self._own = own
        self.readers = {**own.readers, 1: self.readers[1]}
        self.writers, self.callers, self.selectors = own.writers, own.callers, own.selectors

    def perform(self, asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        """As the association of the asker does it, but for the name."""
        if operation.member == 1 and operation.service is not Service.ACTION:
            return super().perform(asker, operation)
        return asker.association.perform(asker, operation)

    def read(self, asker: Asker, index: int) -> Outcome:
        """The same."""
        return super().read(asker, index) if index == 1 else asker.association.read(asker, index)

    def again(self, asker: Asker, index: int) -> Again | None:
        """The same."""
        return super().again(asker, index) if index == 1 else asker.association.again(asker, index)


def _user_record(number: int, user: User) -> list[Any]:
    objects = None if user.objects is None else [pattern.text for pattern in user.objects]
    return [number, user.name, objects, user.attributes, user.methods]


def kept_users(store: MeterStore, place: str) -> dict[int, User] | None:
    """The users of an association as they were last changed by a method; None when never."""
    record = store.get(f"{place}/users")
    if record is None:
        return None
    return {
        number: User(
            name,
            None if objects is None else tuple(views.Pattern.of(text) for text in objects),
            attributes,
            methods,
        )
        for number, name, objects, attributes, methods in record
    }
