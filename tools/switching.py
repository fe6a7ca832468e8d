"""Which mutant is on trial: it lends its code to the function that everybody holds already.

mutmut's own trampoline asks at every call which mutant that is, and a test makes thousands of calls. Here
functions cost what they always do, so tests take as long as without mutants.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from mutmut.mutation import trampoline

Decorator = Callable[[FunctionType], FunctionType]


class Switches:
    """Every function with mutants, from the moment on that its module is imported."""

    def __init__(self) -> None:
        self._mutants: list[tuple[FunctionType, dict[str, Any]]] = []
        trampoline.wrap_in_trampoline = self._kept  # type: ignore[assignment]

    def _kept(self, mutants: dict[str, Any], is_classmethod: bool = False) -> Decorator:
        def keep(function: FunctionType) -> FunctionType:
            self._mutants.append((function, mutants))
            return function

        return keep

    def original(self) -> None:
        """Every function is as it was, under the name of its original."""
        for function, mutants in self._mutants:
            _lend(function, mutants["_mutmut_orig"])

    def switch(self, name: str) -> None:
        """The function of this mutant is the mutant.  Raises LookupError for a name of none."""
        module, _, own = name.rpartition(".")
        for function, mutants in self._mutants:
            if function.__module__ == module and own in mutants:
                _lend(function, mutants[own])
                return
        raise LookupError(f"no module brought the mutant {name}")


def _lend(function: FunctionType, other: Any) -> None:
    other = getattr(other, "__func__", other)  # of a class method, as its class has it
    # Where it has no `super()` any more it still has to close over what the function does.
    function.__code__ = other.__code__.replace(co_freevars=function.__code__.co_freevars)
    function.__defaults__, function.__kwdefaults__ = other.__defaults__, other.__kwdefaults__
