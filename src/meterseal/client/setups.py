"""A meter's Security setup object (class 64 version 1) as a client uses it: all eight methods, as steps.

New keys of this association's own setup are put to use here once the meter has taken them; those of another
role are returned for whoever hands them on.  Nothing is written to a credentials file:
`Credentials.with_keys` makes the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from meterseal.client.access import Access
from meterseal.client.session import Session
from meterseal.client.steps import Steps, Work
from meterseal.codec.data import Data, decode
from meterseal.codec.types import Array, Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.rights import policy_to_wire
from meterseal.crypto import WrappingKey
from meterseal.errors import KeyLength, Misuse, ProtocolViolation, Refused
from meterseal.keys.kinds import NAMES
from meterseal.security import key_agreement
from meterseal.security.agreement import Parties
from meterseal.security.protection import from_text, policy_bits

ENTITIES: Final = ("server", "client", "authority", "other")
"""Whose a certificate is, by certificate_entity."""

KINDS: Final = ("signature", "agreement", "tls", "other")
"""What its key is for, by certificate_type; an authority's is `other`."""

_CLASS: Final = 64
_ACTIVATE, _TRANSFER, _AGREE, _GENERATE, _REQUEST, _IMPORT, _EXPORT, _REMOVE = range(1, 9)
_ITEMS: Final = Array(Structure((Tag.ENUM, Tag.OCTET_STRING)))
_BY_ENTITY: Final = Structure((Tag.ENUM, Structure((Tag.ENUM, Tag.ENUM, Tag.OCTET_STRING))))
_BY_SERIAL: Final = Structure((Tag.ENUM, Structure((Tag.OCTET_STRING, Tag.OCTET_STRING))))
_CURRENT: Final = Obis("0.0.40.0.0.255")
_REFERENCE: Final = 9
_IDS: Final = {name: key_id for key_id, name in NAMES.items()}


class BySerial(NamedTuple):
    """A certificate by serial number and issuer (the name's DER, or its text for other makers' meters)."""

    serial: bytes
    issuer: bytes


class ByEntity(NamedTuple):
    """A certificate by a word of `ENTITIES`, one of `KINDS` and the system title (empty for an authority)."""

    entity: str
    kind: str
    title: bytes = b""


class CertificateInfo(NamedTuple):
    """An entry of attribute 6: words of `ENTITIES` and `KINDS`; names as the meter gives them."""

    entity: str
    kind: str
    serial: bytes
    issuer: bytes
    subject: bytes
    alternative_name: bytes

    @property
    def name(self) -> BySerial:
        """What identifies it for export and removal."""
        return BySerial(self.serial, self.issuer)


class SetupSteps:
    """The methods of one Security setup object; `obis` None: that of this association."""

    def __init__(self, access: Access, session: Session, obis: str | None = None) -> None:
        self._access, self._session = access, session
        self._named = None if obis is None else Obis(obis)
        self._reference: Obis | None = None

    # --- which object, and whose ------------------------------------------------------------------

    def _own(self) -> Steps[Obis]:
        """The Security setup of this association, as its object says.  Raises Refused."""
        if self._reference is None:
            octets = decode((yield from self._access.get(15, _CURRENT, _REFERENCE)))
            if not isinstance(octets, bytes):
                raise ProtocolViolation("security_setup_reference is not the name of an object")
            self._reference = Obis(octets)
        return self._reference

    def _obis(self) -> Steps[Obis]:
        return self._named if self._named is not None else (yield from self._own())

    def _is_own(self) -> Steps[bool]:
        """Whether this association's own keys and policy are meant; not, where the meter does not say."""
        if self._named is None:
            return True
        try:
            return self._named == (yield from self._own())
        except Refused:
            return False

    def _call(self, method: int, data: Data) -> Steps[Any]:
        """What a method returns, as a value."""
        obis = yield from self._obis()
        raw = yield from self._access.action(_CLASS, obis, method, data)
        return None if raw is None else decode(raw)

    # --- policy and keys --------------------------------------------------------------------------

    def activate(self, request: str, response: str | None = None) -> Steps[None]:
        """security_activate: the policy from now on, as `authenticated+encrypted`, each way.

        A policy is only ever strengthened.  Raises Refused, ConfigurationError for other words.
        """
        bits = policy_bits(from_text(request), from_text(request if response is None else response))
        own = yield from self._is_own()
        yield from self._call(_ACTIVATE, Data.of(policy_to_wire(bits, 1), Tag.ENUM))
        if own:
            self._session.association.profile.setup.policy |= bits

    def transfer(self, keys: Mapping[str, bytes], kek: bytes | None = None) -> Steps[None]:
        """key_transfer: new keys by name (`guek`, `gbek`, `gak`, `kek`), wrapped under the KEK.

        `kek` None: that of the credentials.  Raises Refused, Misuse, KeyLength.
        """
        ids = _ids(keys)
        known = self._session.plan.role.octets("kek") if kek is None else kek
        if known is None:
            raise Misuse("keys are transferred under a KEK: the credentials have none, and none was given")
        wanted = self._session.association.profile.setup.suite.key_length
        if any(len(octets) != wanted for octets in keys.values()):
            raise KeyLength(f"keys of this suite have {wanted} octets")
        wrapping = WrappingKey(known)
        items = [(ids[name], wrapping.wrap(octets)) for name, octets in keys.items()]
        own = yield from self._is_own()
        yield from self._call(_TRANSFER, Data.of(items, _ITEMS))
        if own:
            yield from self._session.renew({ids[name]: octets for name, octets in keys.items()})

    def agree(self, names: tuple[str, ...]) -> Steps[dict[str, bytes]]:
        """key_agreement: new keys by C(2e,0s), by name; they are in no message.

        Raises Refused, UnknownKey without a signature key of this client or certificate of the meter, Forged.
        """
        ids = _ids(dict.fromkeys(names, b""))
        association = self._session.association
        setup, meter = association.profile.setup, association.server_title
        if meter is None:
            raise Misuse("the meter's system title is not known in this association")
        signing, signer = setup.signing_key(), setup.verifying_key(meter)
        own = yield from self._is_own()
        ephemeral, items = yield Work(partial(key_agreement.question, setup.suite, ids.values(), signing))
        answered = yield from self._call(_AGREE, Data.of(items, _ITEMS))
        answers = _answers(answered, list(ephemeral))
        parties, options = Parties(setup.own_title, meter), association.profile.options
        new: dict[int, bytes] = yield Work(
            partial(key_agreement.conclusion, setup.suite, answers, ephemeral, signer, parties, options)
        )
        if own:
            yield from self._session.renew(new)
        return {NAMES[key_id]: octets for key_id, octets in new.items()}

    # --- key pairs and certificates ---------------------------------------------------------------

    def generate_key_pair(self, kind: str) -> Steps[None]:
        """generate_key_pair, by a word of `KINDS`; the pair works from the import of its certificate."""
        yield from self._call(_GENERATE, Data.of(_kind(kind), Tag.ENUM))

    def certificate_request(self, kind: str) -> Steps[bytes]:
        """generate_certificate_request: PKCS#10, DER, by the pair that was generated last."""
        return _octets((yield from self._call(_REQUEST, Data.of(_kind(kind), Tag.ENUM))), "a request")

    def import_certificate(self, der: bytes) -> Steps[None]:
        """import_certificate: the meter's own, a client's, a third party's, or an authority's."""
        yield from self._call(_IMPORT, Data.of(der, Tag.OCTET_STRING))

    def export_certificate(self, which: BySerial | ByEntity) -> Steps[bytes]:
        """export_certificate: its DER."""
        return _octets((yield from self._call(_EXPORT, _identification(which))), "a certificate")

    def remove_certificate(self, which: BySerial | ByEntity) -> Steps[None]:
        """remove_certificate; with one of the meter's own its private key is destroyed."""
        yield from self._call(_REMOVE, _identification(which))

    def certificates(self) -> Steps[list[CertificateInfo]]:
        """Attribute 6: what the meter holds."""
        obis = yield from self._obis()
        listed = decode((yield from self._access.get(_CLASS, obis, 6)))
        try:
            return [_certificate_info(*one) for one in listed]
        except (TypeError, ValueError):
            raise ProtocolViolation("attribute 6 is not a list of certificate_info") from None


def _ids(keys: Mapping[str, bytes]) -> dict[str, int]:
    unknown = [name for name in keys if name not in _IDS]
    if unknown or not keys:
        raise Misuse(f"which keys? There are {', '.join(_IDS)}")
    return {name: _IDS[name] for name in keys}


def _answers(answered: Any, wanted: list[int]) -> dict[int, bytes]:
    """The meter's key_data by key id: for just those that were asked for."""
    try:
        answers = {key_id: octets for key_id, data in answered for octets in _octet_strings(data)}
        fits = len(answers) == len(answered) and answers.keys() == set(wanted)
    except (TypeError, ValueError):
        answers, fits = {}, False
    if not fits:
        raise ProtocolViolation("key_agreement: the meter answers for other keys than those asked for")
    return answers


def _certificate_info(entity: Any, kind: Any, *names: Any) -> CertificateInfo:
    """Raises TypeError, ValueError for what a meter does not have so."""
    if entity not in range(len(ENTITIES)) or kind not in range(len(KINDS)):
        raise ValueError("no entity, or no type of certificate")
    return CertificateInfo(ENTITIES[entity], KINDS[kind], *_octet_strings(*names))


def _octet_strings(*values: Any) -> Iterator[bytes]:
    """The values, each of them octets: what a meter sends is looked at and not converted.

    A number would be a length to `bytes`, of as many zeros.  Raises TypeError.
    """
    for value in values:
        if not isinstance(value, bytes):
            raise TypeError("no octet-string")
        yield value


def _kind(word: str) -> int:
    if word not in KINDS[:3]:
        raise Misuse(f"a key pair is for one of {', '.join(KINDS[:3])}")
    return KINDS.index(word)


def _identification(which: BySerial | ByEntity) -> Data:
    if isinstance(which, BySerial):
        return Data.of((1, tuple(which)), _BY_SERIAL)
    if not isinstance(which, ByEntity):
        raise Misuse("a certificate is named BySerial or ByEntity")
    if which.entity not in ENTITIES or which.kind not in KINDS:
        raise Misuse(f"an entity is one of {', '.join(ENTITIES)}, a kind one of {', '.join(KINDS)}")
    entity, kind = ENTITIES.index(which.entity), KINDS.index(which.kind)
    return Data.of((0, (entity, kind, which.title)), _BY_ENTITY)


def _octets(value: Any, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise ProtocolViolation(f"the meter returns something else than {what}")
    return value
