"""What readers of a stream share: octets that nothing was made of yet, noise, and a budget of work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

from .bounds import Budget, Octets

Frame = TypeVar("Frame")


class Incoming:
    """Octets as they came; `noise` counts those that belonged to nothing."""

    __slots__ = ("_at", "_buffer", "budget", "noise")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # what lies before it is done with
        self.budget = Budget()
        self.noise = 0

    @property
    def held(self) -> int:
        """Octets of a frame that has not ended yet."""
        return len(self._buffer) - self._at

    def reset(self) -> None:
        """Forget what is held (a pause on the line ends a frame)."""
        self.noise += self.held
        self._buffer.clear()
        self._at = 0

    def _take(self, octets: Octets) -> None:
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += octets
        self.budget.grant(len(octets))


class Frames(Incoming, ABC, Generic[Frame]):
    """Frames one after another, as somebody asks for them."""

    __slots__ = ()

    def feed(self, octets: Octets) -> Iterator[Frame]:
        """Take in all of `octets`, then iterate the frames that are complete."""
        self._take(octets)
        return self.frames()

    def frames(self) -> Iterator[Frame]:
        """The complete frames, one after another."""
        while (frame := self.next_frame()) is not None:
            yield frame

    @abstractmethod
    def next_frame(self) -> Frame | None:
        """The next complete frame, or None when more octets are needed."""
