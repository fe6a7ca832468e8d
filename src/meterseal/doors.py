"""Doors: names of a package that load the module which has them when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def doors(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of `package`: each name with its module, `.below` the package or by its whole name.

    A name without a module is a module itself.  What was asked for once is a plain name of the package.
    """

    def opened(name: str) -> Any:
        module = where.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = import_module(module or f".{name}", package)
        value = getattr(found, name) if module else found
        setattr(sys.modules[package], name, value)
        return value

    return opened
