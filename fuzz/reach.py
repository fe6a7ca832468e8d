"""Which inputs are worth keeping: the shortest ones that together take every step that any of them takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

import meterseal
from fuzz.target import Decode
from meterseal.errors import MetersealError

_PACKAGE = str(meterseal.__path__[0])
_MADE = "<string>"  # declarations compile to functions of this name

Step = tuple[CodeType, int, int]
"""From one line of a function to another."""


def steps(run: Decode, octets: bytes) -> set[Step]:
    """The steps of the package that one input takes."""
    found: set[Step] = set()

    def call(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if not code.co_filename.startswith((_PACKAGE, _MADE)):
            return None
        last = 0

        def line(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
            nonlocal last
            if event == "line":
                found.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(call)
    try:
        run(octets)
    except MetersealError:
        pass
    finally:
        sys.settrace(before)
    return found


def smallest(run: Decode, known: Iterable[bytes], new: Iterable[bytes]) -> list[bytes]:
    """Those of `new` that take a step which neither the `known` nor a shorter one takes."""
    taken: set[Step] = set()
    for octets in known:
        taken |= steps(run, octets)
    kept = []
    for octets in sorted(set(new), key=lambda octets: (len(octets), octets)):
        fresh = steps(run, octets) - taken
        if fresh:
            taken |= fresh
            kept.append(octets)
    return kept
