"""Tables of Markdown, and text that stays in a cell of one."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table."""
    heads = [str(cell) for cell in head]
    lines = [heads, ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: object) -> str:
    """Write a text so that it stays in its cell of a table."""
    return " ".join(str(text).split()).replace("|", "&#124;")


def first_sentence(doc: str) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(doc.split("\n\n")[0].split())
