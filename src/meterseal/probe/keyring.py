"""Keys for dissection: what somebody holds of the parties whose traffic it is, one set per role.

Lengths are not checked here: a key of the wrong length is an answer that the dissection gives, at the frame
that needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from meterseal.credentials import Credentials
from meterseal.crypto import SUITES, GcmKey, Secret, WrappingKey
from meterseal.crypto.v44 import PACKET, Parameters
from meterseal.errors import KeyLength, UnknownKey, Unsupported
from meterseal.probe.curves import Curves
from meterseal.security.packing import parameters_of

GUEK: Final = "GUEK"
GBEK: Final = "GBEK"
DEDICATED: Final = "dedicated key"
KEK: Final = "KEK"
FRESH: Final = "key made for this message"
GAK: Final = "GAK"

_MOST_CODEWORDS: Final = 0xFFFF
_LENGTHS: Final = tuple(sorted({suite.key_length for suite in SUITES.values()}))


class Keys:
    """One set of keys, octets of any length; None is a key that is not held.

    `gak` empty means that no GAK is in use, None that nobody has said. `client` (SAP), `client_title` and
    `meter_title` say whose keys these are, where that is known; they choose between sets and give the title
    to frames that carry none. `curves` are the keys of suites 1 and 2, `options` the role's peer options,
    `compression` the parameters of what is compressed: of codewords as many as any encoder makes.
    """

    __slots__ = (
        "_handles", "_octets", "client", "client_title", "compression", "curves", "meter_title", "name",
        "options",
    )  # fmt: skip

    def __init__(
        self,
        *,
        guek: bytes | None = None,
        gak: bytes | None = None,
        gbek: bytes | None = None,
        dedicated: bytes | None = None,
        kek: bytes | None = None,
        client: int | None = None,
        client_title: bytes | None = None,
        meter_title: bytes | None = None,
        name: str = "",
        curves: Curves | None = None,
        options: frozenset[str] = frozenset(),
        compression: Parameters = PACKET,
    ) -> None:
        given = {GUEK: guek, GAK: gak, GBEK: gbek, DEDICATED: dedicated, KEK: kek}
        self._octets = {word: Secret(octets) for word, octets in given.items() if octets is not None}
        self._handles: dict[tuple[str, str | None], GcmKey] = {}
        self.client = client
        self.client_title = client_title
        self.meter_title = meter_title
        self.name = name
        self.curves = Curves() if curves is None else curves
        self.options = options
        self.compression = replace(compression, n2=_MOST_CODEWORDS)

    def __repr__(self) -> str:
        return f"<Keys {self.name or '-'}: {', '.join(self._octets) or 'none'}>"

    def holds(self, word: str) -> bool:
        """True for a key that was given; for the GAK also when it is said that none is in use."""
        return word in self._octets

    @property
    def gak_in_use(self) -> bool | None:
        """True with a GAK, False when it is said that there is none, None when nobody has said."""
        held = self._octets.get(GAK)
        return None if held is None else bool(held.reveal())

    def kcv(self, word: str) -> str:
        """The check value of a key that has been used; empty for one that cannot be."""
        return next((handle.kcv for (ek, _), handle in self._handles.items() if ek == word), "")

    def with_dedicated(self, octets: bytes) -> Keys:
        """The same set with this dedicated key in place of its own."""
        return self._with({DEDICATED: octets})

    def with_fresh(self, octets: bytes) -> Keys:
        """The same set with the key that one message brings or tells, beside the GAK if that is in use so."""
        return self._with({FRESH: octets} | ({GAK: b""} if "ak_in_use" in self.options else {}))

    def _with(self, octets: dict[str, bytes]) -> Keys:
        changed = Keys(
            client=self.client,
            client_title=self.client_title,
            meter_title=self.meter_title,
            name=self.name,
            curves=self.curves,
            options=self.options,
            compression=self.compression,
        )
        changed._octets = self._octets | {word: Secret(value) for word, value in octets.items()}
        return changed

    def unwrapped(self, blob: bytes) -> bytes:
        """The key inside a wrapped one.  Raises UnknownKey without a KEK, KeyLength, Forged."""
        held = self._octets.get(KEK)
        if held is None:
            raise UnknownKey(f"no {KEK} was given")
        return WrappingKey(held.reveal()).unwrap(blob)

    def handle(self, ek: str, ak: str | None, suite_id: int) -> GcmKey:
        """The key `ek` beside the key `ak` (None: no AK), both of the length that the suite has.

        Raises UnknownKey for one that is not held, KeyLength, Unsupported for a reserved suite.
        """
        self.check(ek, suite_id)
        if ak is not None:
            self.check(ak, suite_id)
        known = self._handles.get((ek, ak))
        if known is None:
            known = GcmKey(self._octets[ek].reveal(), self._octets[ak].reveal() if ak else b"")
            self._handles[ek, ak] = known
        return known

    def check(self, word: str, suite_id: int) -> None:
        """Is the key held, and as long as the suite's keys are?

        A key is never cut or filled up to suit a frame (design law 7): where the two disagree there is
        nothing to open. Raises UnknownKey, KeyLength, Unsupported.
        """
        held = self._octets.get(word)
        if held is None:
            raise UnknownKey(f"no {word} was given")
        suite = SUITES.get(suite_id)
        if suite is None:
            raise Unsupported(f"the frame names security suite {suite_id}, which is reserved")
        length = len(held.reveal())
        if word == GAK and not length:
            return
        if length not in _LENGTHS:
            raise KeyLength(f"the {word} has {length} octets; keys have 16 (suites 0 and 1) or 32 (suite 2)")
        if length != suite.key_length:
            raise KeyLength(
                f"the {word} has {length} octets; the frame names suite {suite_id}, whose keys have "
                f"{suite.key_length}"
            )


@dataclass(frozen=True, slots=True)
class Keyring:
    """Sets of keys to try, in order; `title` (8 octets) is the sender's where the stream tells none."""

    sets: tuple[Keys, ...] = ()
    title: bytes | None = None

    @classmethod
    def of(
        cls,
        *,
        guek: bytes | None = None,
        gak: bytes | None = None,
        gbek: bytes | None = None,
        dedicated: bytes | None = None,
        title: bytes | None = None,
    ) -> Keyring:
        """A keyring of one set; `gak` empty means not in use, None not known."""
        return cls((Keys(guek=guek, gak=gak, gbek=gbek, dedicated=dedicated),), title)

    @classmethod
    def of_credentials(
        cls, credentials: Credentials, *, dedicated: bytes | None = None, title: bytes | None = None
    ) -> Keyring:
        """A set for each role of a credentials file; `dedicated` is a key beside the GAK of each.

        Raises Expired for keys that were lent until earlier.
        """
        for name, role in credentials.roles.items():
            role.check_lent(name, datetime.now(UTC))
        sets = (
            Keys(
                guek=role.octets("guek"),
                gak=role.octets("gak"),
                gbek=role.octets("gbek"),
                kek=role.octets("kek"),
                dedicated=dedicated,
                client=role.client,
                client_title=role.client_system_title,
                meter_title=credentials.meter.system_title,
                name=name,
                curves=Curves.of_credentials(credentials, role),
                options=role.peer,
                compression=PACKET if role.compression is None else parameters_of(role.compression),
            )
            for name, role in credentials.roles.items()
        )
        return cls(tuple(sets), title)

    def ordered(self, client: int | None, title: bytes | None) -> list[Keys]:
        """The sets, those first that belong to this client SAP or system title."""

        def stranger(keys: Keys) -> bool:
            by_title = title is not None and title == keys.client_title
            return not (by_title or (client is not None and client == keys.client))

        return sorted(self.sets, key=stranger) or [Keys()]


EMPTY: Final = Keyring()
"""No keys at all: frames are taken apart as far as that goes."""
