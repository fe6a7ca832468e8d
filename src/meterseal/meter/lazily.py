"""A mapping whose values are made when somebody asks for them: most of a meter is never looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lazily(Mapping[K, V]):
    """The values of `keys`, each made once by `make`.  `keys` may be shared by many mappings."""

    __slots__ = ("_keys", "_make", "_values")

    def __init__(self, keys: Collection[K], make: Callable[[K], V]) -> None:
        self._keys, self._make = keys, make
        self._values: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        found = self._values.get(key)
        if found is None:
            if key not in self._keys:
                raise KeyError(key)
            found = self._values[key] = self._make(key)
        return found

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def made(self) -> list[V]:
        """The values that there are already."""
        return list(self._values.values())
