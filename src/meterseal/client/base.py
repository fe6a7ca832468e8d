"""What the asyncio client and the blocking one share: an association's facts, a line's credentials."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

from meterseal.apdu.initiate import CONFORMANCE_BITS
from meterseal.client.plan import Wishes, make_plan, make_state
from meterseal.client.session import Session
from meterseal.client.shared import Shared
from meterseal.client.verbs import Verbs
from meterseal.credentials import Credentials
from meterseal.credentials.fields import seconds
from meterseal.errors import ConfigurationError, Misuse
from meterseal.framing.hdlc import Timing
from meterseal.net import Asking
from meterseal.net.url import peer_of, sizes
from meterseal.state import CounterStore

CredentialsLike: TypeAlias = Credentials | str | os.PathLike[str]
"""Credentials, or the path of a file with them."""


_PATIENCE, _TRIES = 10.0, 5  # seconds where nothing else is said; four tries of HDLC and a reserve
_KEEP = 40.0  # seconds without use after which an HDLC link is asked for nothing: meters give up after 120


class MeterBase:
    """One association with a meter, seen from the client."""

    __slots__ = ("_session", "_verbs")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._verbs = Verbs(session)

    @property
    def role(self) -> str:
        """The role's name in the credentials."""
        return self._session.plan.name

    @property
    def is_open(self) -> bool:
        """True while the association stands."""
        return self._session.stands

    @property
    def system_title(self) -> bytes | None:
        """The meter's system title as the sign-on brought it; None where none was asked for."""
        association = self._session.association
        return association.server_title if association.profile.with_titles else None

    @property
    def services(self) -> frozenset[str]:
        """Names of the services that were negotiated (conformance block, acse-xdlms 3)."""
        negotiated = self._session.association.negotiated
        return frozenset(name for name, bit in CONFORMANCE_BITS.items() if negotiated & bit)

    @property
    def max_pdu(self) -> int:
        """Octets of the largest APDU that the meter takes; 0 for no limit."""
        return self._session.association.server_max_pdu

    @property
    def counters_left(self) -> int | None:
        """Invocation counters before a new key is due; None for a role without a key."""
        return self._session.counters_left

    def described(self) -> dict[str, Any]:
        """`{"role", "mechanism", "suite", "policy"}`: the `association` of `read --json`."""
        return self._session.plan.described()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<{type(self).__name__} {self._session.shared.url} {self.role} {state}>"


class LinkBase:
    """A line to a meter with its credentials: where associations come from.

    `timeout` is for the opening of the line, and for all tries of HDLC.  Raises ConfigurationError when
    nothing says where the meter is; what the credentials raise.
    """

    def __init__(
        self,
        url: str | None,
        credentials: CredentialsLike | None,
        counters: CounterStore | None,
        state: str | os.PathLike[str] | None,
        line: str | None,
        timeout: float | None,
    ) -> None:
        if credentials is None:
            raise ConfigurationError("no credentials: give the path of their file, or a Credentials object")
        loaded = credentials if isinstance(credentials, Credentials) else Credentials.load(credentials)
        self.credentials = loaded if url is None else loaded.at(url)
        where = self.credentials.meter.url or line
        if where is None:
            raise ConfigurationError("neither the call nor the credentials say where the meter is (url)")
        self.url, self._timeout = where, timeout
        self._shared = Shared(peer_of(where), make_state(self.credentials, counters, state))

    def _asking(self) -> Asking:
        """How the meter is asked on a line with HDLC.  Raises ConfigurationError.

        A link is given up a little before a request: all its tries take four fifths of the time-out.
        """
        meter = self.credentials.meter
        lower = None if meter.server_address is None or meter.address_size == 1 else meter.server_address[1]
        if lower is None and (meter.address_size or 1) > 1:
            raise ConfigurationError(
                f"address_size {meter.address_size} needs server_address = [upper, lower]"
            )
        try:
            patience = _PATIENCE if self._timeout is None else seconds(self._timeout)
        except Misuse as error:
            raise ConfigurationError(f"timeout: {error}") from None
        timing = Timing(response=patience / _TRIES, keep=_KEEP)
        wanted = sizes(None, meter.frame_size, meter.window)
        return Asking(lower, meter.address_size or 0, wanted, timing)

    def wait_as(self, role: str | None, wishes: Wishes) -> None:
        """Wait for the line as for answers to this role.  Raises ConfigurationError for no such role."""
        if "timeout" not in wishes:
            self._timeout = self.credentials.role(role).timeout

    def _session(self, role: str | None, wishes: Wishes) -> Session:
        return Session(make_plan(self.credentials, role, wishes), self._shared)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"
