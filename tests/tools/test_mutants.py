"""Which mutants do nothing else, which line of one is another, and how one comes into play."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from tools.mutants import Mutant, _from_its_head, _same
from tools.switching import _lend


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('Malformed("text")', 'Malformed("XXtextXX")', True),
        ('Malformed(f"a {b.hex()}")', 'Malformed(f"a {b}")', True),
        ('Malformed("text")', "Malformed(None)", False),
        ('Malformed("text", 1)', 'Malformed("text", 2)', False),
        ('Malformed("text")', 'Truncated("text")', False),
        ('print("text")', 'print("TEXT")', False),
        ("zip(a, b, strict=True)", "zip(a, b, strict=False)", True),
        ("zip(a, b, strict=True)", "zip(a, b, )", True),
        ("zip(a, b, strict=True)", "zip(a, strict=True)", False),
        ("zip(a, b, strict=False)", "zip(a, b, strict=True)", False),
        ('cast("T", found)', "cast(None, found)", True),
        ('cast("T", found)', 'cast("T", None)', False),
        ('cast("T", found)', "cast(found)", False),
        ('n.to_bytes(4, "big")', "n.to_bytes(4, )", True),
        ('int.from_bytes(o, "big")', "int.from_bytes(o, )", True),
        ('n.to_bytes(4, "big")', 'n.to_bytes(4, "BIG")', False),
        ('n.to_bytes(4, "big")', "n.to_bytes(4, None)", False),
        ('n.to_bytes(4, "big")', 'n.to_bytes(5, "big")', False),
        ('n.to_bytes(4, "little")', "n.to_bytes(4, )", False),
        ('text.encode("ascii")', 'text.encode("ASCII")', True),
        ('text.encode("ascii")', 'text.encode("XXasciiXX")', False),
        ('text.encode("ascii")', "text.encode(None)", False),
        ('value.encode("ascii")', 'other.encode("ascii")', False),
        ("message.encode()", "message.encode(x)", False),
        ("a < b", "a <= b", False),
        ("f(a, b)", "f(a, )", False),
        ("f(g(1))", "f(g(2))", False),
        ('f(Malformed("text"))', 'f(Malformed("other"))', True),
    ],
)
def test_a_mutant_is_passed_over_where_it_does_nothing_else(before: str, after: str, same: bool) -> None:
    assert _same(ast.parse(before), ast.parse(after)) is same


def test_lines_are_counted_from_the_head_of_the_function() -> None:
    source = "\n\n# --- part ---\n\n\n@staticmethod\ndef f(a):\n    return a\n"
    assert _from_its_head(source) == "@staticmethod\ndef f(a):\n    return a\n"
    assert _from_its_head("\n    def g(self):\n        pass\n") == "    def g(self):\n        pass\n"


@pytest.mark.parametrize(
    ("own", "plain"),
    [
        ("x_protect__mutmut_3", "security.protect.protect"),
        ("x__look_up__mutmut_12", "security.protect._look_up"),
        ("xǁOpenedǁorigin__mutmut_1", "security.protect.Opened.origin"),
        ("xǁOpenedǁ__init____mutmut_1", "security.protect.Opened.__init__"),
    ],
)
def test_functions_are_called_as_their_files_have_them(own: str, plain: str) -> None:
    assert Mutant(f"meterseal.security.protect.{own}", None).plain_name == plain  # type: ignore[arg-type]


class Above:
    def value(self, more: int = 1) -> int:
        return more


class Below(Above):
    def value(self, more: int = 1) -> int:
        return super().value(more) + 10

    def other(self, more: int = 2) -> int:
        return more * 100

    @classmethod
    def made(cls) -> int:
        return 5


def test_a_mutant_lends_its_code_to_what_others_hold() -> None:
    held: Any = Below.value
    was = held.__code__, held.__defaults__
    _lend(held, Below.other)
    assert held(Below()) == Below().value() == 200
    _lend(held, Below.made)
    held.__code__, held.__defaults__ = was
    assert held(Below()) == 11
