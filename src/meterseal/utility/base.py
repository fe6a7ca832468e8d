"""What the two forms of a sealed meter share: its session, and what it says of itself."""

from __future__ import annotations

import os
from typing import Any

from meterseal.client.base import CredentialsLike
from meterseal.client.plan import make_state
from meterseal.client.verbs import Verbs
from meterseal.cosem.obis import Obis
from meterseal.security.describe import party_layers
from meterseal.state import CounterStore
from meterseal.utility.protected import ProtectedSession
from meterseal.utility.session import SealedSession, ThirdSession, load


class ThirdBase:
    """A meter as a third party sees it, through whoever carries.

    `credentials` (or the path of their file) name meter and third party, `name` which of several third
    parties.  Counters are kept as a client's: in the store `counters`, else in the folder `state`, else
    METERSEAL_STATE, else beside the credentials' file.  `timeout` (seconds): after that an answer counts as
    withheld.  Raises ConfigurationError, StateDamaged, StateUnavailable.
    """

    _session: ThirdSession

    def __init__(self, session: ThirdSession) -> None:
        self._session = session
        self._verbs = Verbs(session)

    @property
    def system_title(self) -> bytes:
        """The meter's system title."""
        return self._session.setup.peer_title or b""

    def __repr__(self) -> str:
        own, meter = self._session.setup.own_title.hex().upper(), self.system_title.hex().upper()
        return f"<{type(self).__name__} {meter} for {own}>"


class SealedBase(ThirdBase):
    """What is carried is sealed."""

    _session: SealedSession

    @property
    def missed(self) -> int:
        """Answers that the meter has sealed and that never came, as its counter tells.

        A restart of the meter leaves a gap as well, of at most 1000.
        """
        return self._session.exchanges.missed

    @property
    def layers(self) -> list[dict[str, Any]]:
        """What protected the latest answer, from the outside in, as in `decode --json`."""
        last, suite = self._session.last, self._session.setup.suite
        return [] if last is None else party_layers(last.layers, suite, last.counter)


class ProtectedBase(ThirdBase):
    """What is called is protected."""

    _session: ProtectedSession


def sealed_session(
    credentials: CredentialsLike,
    name: str | None,
    counters: CounterStore | None,
    state: str | os.PathLike[str] | None,
    timeout: float | None,
) -> SealedSession:
    """The session of a `SealedMeter`."""
    loaded = load(credentials)
    return SealedSession(loaded, make_state(loaded, counters, state), name, timeout=timeout)


def protected_session(
    credentials: CredentialsLike,
    name: str | None,
    object: str,
    counters: CounterStore | None,
    state: str | os.PathLike[str] | None,
    timeout: float | None,
) -> ProtectedSession:
    """The session of a `ProtectedMeter`."""
    loaded = load(credentials)
    kept = make_state(loaded, counters, state)
    return ProtectedSession(loaded, kept, name, obis=Obis(object), timeout=timeout)
