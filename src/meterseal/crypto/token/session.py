"""One session with a token: log in once, do one thing at a time, come back once when the session is lost.

Session objects (keys unwrapped into the token) die with their session, so a key is kept as the way to get it
(`Held`) and got again in the next session.  A PIN that was refused is never tried a second time: tokens lock
themselves after a few (catalogue G16).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Any, Final, TypeVar

import pkcs11

from meterseal.crypto.secret import Guarded, Secret, same
from meterseal.errors import ConfigurationError, HsmUnavailable, UnknownKey

T = TypeVar("T")
Load = Callable[[pkcs11.Session], Any]

_LOST: Final = (
    pkcs11.SessionHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.UserNotLoggedIn,
    pkcs11.ObjectHandleInvalid,
    pkcs11.KeyHandleInvalid,
    pkcs11.TokenNotPresent,
    pkcs11.DeviceError,
)
"""What a new session may mend; tried once."""

_BAD_PIN: Final = (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid, pkcs11.PinLocked)


class Held(Guarded):
    """A key in a token: how it is found or made in a session, and its object in the present one."""

    __slots__ = ("_load", "_name", "_object", "_session")

    def __init__(self, load: Load, name: str) -> None:
        self._load: Load | None = load
        self._name = name
        self._object: Any = None
        self._session: pkcs11.Session | None = None

    def __repr__(self) -> str:
        return f"<Held {self._name}>"

    def object(self, session: pkcs11.Session) -> Any:
        """The object in this session.  Raises UnknownKey after `drop`."""
        if self._load is None:
            raise UnknownKey(f"{self._name} has been destroyed")
        if self._session is not session:
            self._object, self._session = self._load(session), session
        return self._object

    def drop(self) -> None:
        """Forget the key; every later use raises UnknownKey."""
        self._load = self._object = self._session = None


class Token(Guarded):
    """A token with somebody logged in.  Several threads may use it; the token gets one call at a time."""

    __slots__ = ("_label", "_lock", "_module", "_pin", "_process", "_refused", "_session")

    def __init__(self, module: str, label: str, pin: Secret) -> None:
        """Nothing is opened before the first use."""
        self._module, self._label, self._pin = module, label, pin
        self._lock = RLock()
        self._session: pkcs11.Session | None = None
        self._process = os.getpid()
        self._refused = False

    def __repr__(self) -> str:
        return f"<Token {self._label}>"

    @property
    def label(self) -> str:
        """The token's label."""
        return self._label

    @property
    def refused(self) -> bool:
        """True when the token has refused the PIN."""
        return self._refused

    def opened_by(self, pin: bytes) -> bool:
        """True when this is the PIN that it is opened with (constant time)."""
        return same(self._pin.reveal(), pin)

    def use(self, held: Held | None, work: Callable[[Any], T]) -> T:
        """`work` with the object of `held`, or with the session itself; again in a new one if it was lost.

        Raises HsmUnavailable when the token cannot be reached, ConfigurationError when it is not there or
        refuses its PIN.  What else `pkcs11` raises is for the caller to translate.
        """
        with self._lock:
            for last in (False, True):
                session = self._open()
                try:
                    return work(session if held is None else held.object(session))
                except _LOST as error:
                    self._drop()
                    if last:
                        raise HsmUnavailable(
                            f"HSM token {self._label}: {type(error).__name__}, and again in a new session"
                        ) from None
        raise AssertionError  # pragma: no cover - the second turn returns or raises

    def close(self) -> None:
        """Log out.  The next use opens the token again."""
        with self._lock:
            self._drop()

    def _open(self) -> pkcs11.Session:
        if self._process != os.getpid():  # a child has its parent's memory, and none of its sessions
            self._session, self._process = None, os.getpid()
            _library(self._module).reinitialize()
        if self._session is None:
            self._session = self._login()
        return self._session

    def _login(self) -> pkcs11.Session:
        if self._refused:
            raise ConfigurationError(
                f"HSM token {self._label} refused its PIN; it is not tried again: put the PIN right first"
            )
        library = _library(self._module)
        try:
            found = library.get_token(token_label=self._label)
            return found.open(user_pin=self._pin.reveal().decode("utf-8"), rw=True)
        except (pkcs11.NoSuchToken, pkcs11.MultipleTokensReturned) as error:
            raise ConfigurationError(f"HSM token {self._label}: {type(error).__name__}") from None
        except _BAD_PIN as error:
            self._refused = True
            raise ConfigurationError(
                f"HSM token {self._label} refuses its PIN ({type(error).__name__})"
            ) from None
        except pkcs11.PKCS11Error as error:
            raise HsmUnavailable(f"HSM token {self._label}: {type(error).__name__}") from None

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except pkcs11.PKCS11Error:
                pass


_open: Final[dict[tuple[str, str], Token]] = {}
_opening: Final = RLock()


def open_token(module: str, label: str, pin: bytes) -> Token:
    """The token of this label; a process logs in to each once.

    `module`: path of the vendor's PKCS#11 library.  Raises what `Token.use` raises, and ConfigurationError
    for another PIN than the one that opened it.
    """
    with _opening:
        found = _open.get((module, label))
        if found is None or (found.refused and not found.opened_by(pin)):
            found = _open[module, label] = Token(module, label, Secret(pin))
        if not found.opened_by(pin):
            raise ConfigurationError(f"HSM token {label} is open in this process with another PIN")
    found.use(None, lambda _: None)
    return found


def _library(module: str) -> Any:
    try:
        return pkcs11.lib(module)
    except pkcs11.PKCS11Error:
        raise ConfigurationError(f"no PKCS#11 library at {module}") from None
