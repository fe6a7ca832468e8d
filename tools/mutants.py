"""What a mutant is: whose function, which line of it is another, and whether it does anything else at all."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from mutmut.mutation.data import MutantLineSpans, SourceFileMutationData
from mutmut.utils import file_utils
from mutmut.utils.format_utils import mangled_name_from_mutant_name

ORIGINAL: Final = "__mutmut_orig"
"""What mutmut adds to the name of a function that is as it was."""

SURVIVED, KILLED, UNTESTED, TIMEOUT = 0, 1, 33, 36
"""Outcomes, in mutmut's numbers."""

_TREE: Final = Path(__file__).resolve().parent.parent / "src" / "meterseal" / "errors.py"
# Read, not imported: the package is to be imported from where its mutants are.
_ERRORS: Final = frozenset(
    node.name for node in ast.parse(_TREE.read_text()).body if isinstance(node, ast.ClassDef)
)


class Mutant(NamedTuple):
    """One mutant, and the file that its outcome is kept in."""

    name: str
    file: SourceFileMutationData

    @property
    def function(self) -> str:
        """The function, with its module."""
        return str(mangled_name_from_mutant_name(self.name))

    @property
    def module(self) -> str:
        """Package and module."""
        return ".".join(self.name.split(".")[1:3])

    @property
    def plain_name(self) -> str:
        """The function as its file has it: `security.hls.Proof.check`."""
        own = self.function.rpartition(".")[2]
        own = own[1:].strip("ǁ").replace("ǁ", ".") if "ǁ" in own else own.removeprefix("x_")
        return f"{self.module}.{own}"

    @property
    def function_hash(self) -> str:
        """That of the function as it is without any mutant."""
        return str(self.file.hash_by_function_name.get(self.function.rpartition(".")[2], ""))

    @property
    def outcome(self) -> int | None:
        """What became of it, in mutmut's numbers; None when it was not tried."""
        return self.file.exit_code_by_key[self.name]

    def sources(self) -> tuple[str, str]:
        """The function as it was and as it is, under one name."""
        spans, own = _spans(str(self.file.path)), self.name.rpartition(".")[2]
        was = own.rpartition("__mutmut_")[0] + ORIGINAL
        if spans is None:
            raise LookupError(f"mutmut left no index of {self.file.path}: delete mutants/ and begin anew")
        before, after = map(_from_its_head, spans.read_function_sources([was, own]))
        return before, after.replace(own, was)

    @property
    def line(self) -> int:
        """The first line that is another, from 0 for that of the `def` or of a decorator above it."""
        before, after = (source.splitlines() for source in self.sources())
        return next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)

    @property
    def changed(self) -> tuple[str, str]:
        """The first line that is another, as it was and as it is, without what is around."""
        before, after = (source.splitlines()[self.line].strip() for source in self.sources())
        return before, after

    @property
    def says_it_otherwise(self) -> bool:
        """True when it differs in nothing but what rules below pass over: it does what the original does."""
        before, after = (ast.parse(textwrap.dedent(source)) for source in self.sources())
        return _same(before, after)


def _from_its_head(source: str) -> str:
    """Without what stands above a function: mutmut's index counts it, the numbers of lines do not."""
    lines = source.splitlines(keepends=True)
    head = next(at for at, line in enumerate(lines) if line.lstrip().startswith(("def ", "@")))
    return "".join(lines[head:])


@cache
def _spans(path: str) -> MutantLineSpans | None:
    return MutantLineSpans.load(path)


def all_mutants() -> Iterator[Mutant]:
    """Every mutant there is, with its outcome so far."""
    for path in sorted(file_utils.walk_mutatable_files()):
        file = SourceFileMutationData(path=path)
        file.meta_path = file.meta_path.resolve()
        file.load()
        for name in file.exit_code_by_key:
            yield Mutant(name, file)


# --- what does nothing else -------------------------------------------------------------------------


def _same(one: Any, other: Any) -> bool:
    """Equal, but for what says the same in other words: those of `_without_words`."""
    if type(one) is not type(other):
        return False
    if isinstance(one, ast.Call):
        one, other = _without_words(one, other)
    if isinstance(one, ast.AST):
        return all(_same(getattr(one, name), getattr(other, name)) for name in one._fields)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _without_words(one: ast.Call, other: ast.Call) -> tuple[Any, Any]:
    """Parts of two calls that have to be equal.

    The text of an error is for people, and any other text is as good; that there is one, every test sees to
    (tests/conftest.py).  `strict=True` claims what holds anyway: where it holds, a zip is the same without.
    The type that a cast names is for who checks types, and nothing when the program runs.  "big" is what
    `to_bytes` and `from_bytes` do unasked, and codecs have the same name in capitals.
    """
    if _is_text_of_error(one) and _is_text_of_error(other):
        return (one.func, one.args[1:], one.keywords), (other.func, other.args[1:], other.keywords)
    if _is_zip(one) and _is_zip(other) and any(_is_strict(keyword) for keyword in one.keywords):
        return (one.func, one.args), (other.func, other.args)
    if _is_cast(one) and _is_cast(other):
        return (one.func, one.args[1:]), (other.func, other.args[1:])
    if _is_method(one, "to_bytes", "from_bytes") and _is_method(other, "to_bytes", "from_bytes"):
        return (one.func, _without_big(one), one.keywords), (other.func, _without_big(other), other.keywords)
    if _is_method(one, "encode") and _is_method(other, "encode"):
        return (one.func, _codec(one), one.keywords), (other.func, _codec(other), other.keywords)
    return (one.func, one.args, one.keywords), (other.func, other.args, other.keywords)


def _is_method(call: ast.Call, *names: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in names


def _without_big(call: ast.Call) -> list[ast.expr]:
    order = call.args[1:]
    is_usual = len(order) == 1 and isinstance(order[0], ast.Constant) and order[0].value == "big"
    return call.args[:1] if is_usual else call.args


def _codec(call: ast.Call) -> list[Any]:
    named = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return [name.lower() for name in named] if len(named) == len(call.args) else call.args


def _is_text_of_error(call: ast.Call) -> bool:
    if not (isinstance(call.func, ast.Name) and call.func.id in _ERRORS and call.args):
        return False
    text = call.args[0]
    return isinstance(text, ast.JoinedStr) or (isinstance(text, ast.Constant) and type(text.value) is str)


def _is_zip(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "zip"


def _is_cast(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "cast" and len(call.args) == 2


def _is_strict(keyword: ast.keyword) -> bool:
    return keyword.arg == "strict" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
