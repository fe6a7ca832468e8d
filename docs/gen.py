"""Generated parts of the docs: pictures and tables drawn from the import contracts and the code's own tables.

A page holds `<!-- gen: NAME -->` and `<!-- end: NAME -->`; what stands between them is written by the
generator of that name. `python docs/gen.py` writes, `--check` complains when a page is behind the code.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

DOCS = Path(__file__).resolve().parent
BLOCK = re.compile(r"(<!-- gen: (\S+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
BOX, GAP, MARGIN, WIDTH = 40, 18, 16, 760  # of the picture of the layers, in pixels


def layers() -> list[list[str]]:
    """Read the layers contract: the names of each layer, top first."""
    settings = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    rows = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip(" ()") for name in row.split("|")] for row in rows]


def source(package: str) -> Path:
    """Return the file whose docstring speaks for a package (or for a module of the same name)."""
    at = DOCS.parent / "src" / "meterseal" / package
    return at / "__init__.py" if at.is_dir() else at.with_suffix(".py")


def layers_picture() -> str:
    """Draw the layers as SVG: one row a layer, arrows down, solid where the package exists already."""
    rows = layers()
    height = 2 * MARGIN + len(rows) * (BOX + GAP) - GAP
    parts = [
        "<!-- The packages and the one way down, drawn by docs/gen.py from the import contract. -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="15" text-anchor="middle">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#f7f9fa"/>',
    ]
    for index, names in enumerate(rows):
        top = MARGIN + index * (BOX + GAP)
        wide = (WIDTH - 2 * MARGIN - GAP * (len(names) - 1)) / len(names)
        for place, name in enumerate(names):
            left = MARGIN + place * (wide + GAP)
            line = 'stroke="#00695c"' if source(name).exists() else 'stroke="#90a4ae" stroke-dasharray="5 4"'
            parts += [
                f'<rect x="{left:.0f}" y="{top}" width="{wide:.0f}" height="{BOX}" {line} fill="#fff"/>',
                f'<text x="{left + wide / 2:.0f}" y="{top + 26}" fill="#263238">{name}</text>',
            ]
        if index:
            arrow = f"M{WIDTH // 2} {top - GAP + 3}v10m-5 -5l5 5l5 -5"
            parts.append(f'<path d="{arrow}" stroke="#546e7a" fill="none"/>')
    return "\n".join([*parts, "</svg>", ""])


def first_sentence(doc: str) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(doc.split("\n\n")[0].split())


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table."""
    heads = [str(cell) for cell in head]
    lines = [heads, ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def packages() -> str:
    """List the packages, upper first, with the first sentence of their docstring."""
    rows = []
    for names in layers():
        for name in names:
            if source(name).exists():
                rows.append((f"`{name}`", first_sentence(source(name).read_text().split('"""')[1])))
    return table(("package", "what it is"), rows)


def states() -> str:
    """Tell the association's state table, both roles, as rows."""
    from meterseal.association.states import TABLE

    rows = [
        (
            role.value,
            state.value,
            kind.value,
            f"`{step.action}`",
            "; ".join(f"{outcome}: {following.value}" for outcome, following in step.outcomes.items()),
        )
        for (role, state, kind), step in TABLE.items()
    ]
    return table(("role", "state", "message", "action", "outcome: next state"), rows)


def suites() -> str:
    """List the security suites with their lengths in octets."""
    from meterseal.crypto.suites import SUITES

    rows = [
        (s.id, s.name, s.key_length, s.wrapped_length, s.tag_length, s.curve or "-", s.hash or "-")
        for s in SUITES.values()
    ]
    return table(("id", "name", "key", "wrapped key", "tag", "curve", "hash"), rows)


def mechanisms() -> str:
    """List the authentication mechanisms and whether they are on without being asked for."""
    from meterseal.security.hls import MECHANISMS

    rows = [(number, f"`{row.name}`", "no" if row.weak else "yes") for number, row in MECHANISMS.items()]
    return table(("number", "name", "on by default"), rows)


def errors() -> str:
    """List the errors that a caller can meet: name, kind in JSON, and who has to act."""
    from meterseal import errors as module

    tree = [error for error in vars(module).values() if isinstance(error, type)]
    ours = [error for error in tree if issubclass(error, module.MetersealError)]
    leaves = [error for error in ours if not error.__subclasses__()]
    rows = [
        (f"`{leaf.__name__}`", f"`{leaf.kind}`", leaf.blame.value, first_sentence(leaf.__doc__ or ""))
        for leaf in leaves
    ]
    return table(("class", "kind", "who acts", "meaning"), rows)


def apdus() -> str:
    """List the APDUs by tag with their ciphered forms, and whether they are decoded or known by name only."""
    from meterseal import apdu
    from meterseal.apdu.ciphered import FORMS
    from meterseal.framing import gbt

    names: dict[int, list[str]] = {}
    for message in apdu.MESSAGES:
        names.setdefault(message.tag[0], []).append(message.name)
    ciphered = {
        (form.plain_tag, form.key_set): f"{form.tag:02X}" for form in FORMS.values() if form.plain_tag
    }
    general = {form.tag: [form.name] for form in FORMS.values() if not form.plain_tag}
    by_name = {tag: [name] for tag, name in apdu.UNDECODED.items()}
    in_framing = {gbt.TAG}  # blocks of APDUs, which the framing takes apart
    rows = [
        (
            f"{tag:02X}",
            ", ".join(f"`{name}`" for name in dict.fromkeys(known)),
            ciphered.get((tag, "global"), "-"),
            ciphered.get((tag, "dedicated"), "-"),
            "known by name" if tag in by_name.keys() - in_framing else "in",
        )
        for tag, known in sorted((names | general | by_name).items())
    ]
    return table(("tag", "APDU", "glo-", "ded-", "this version"), rows)


def classes() -> str:
    """List the interface classes and versions whose attributes and methods are in the tables."""
    from meterseal.cosem.classes import interface_classes

    versions: dict[tuple[int, str], list[int]] = {}
    for entry in interface_classes():
        versions.setdefault((entry.id, entry.name), []).append(entry.version)
    rows = [(number, name, ", ".join(map(str, known))) for (number, name), known in versions.items()]
    return table(("class", "name", "versions known"), rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "packages": packages,
    "states": states,
    "suites": suites,
    "mechanisms": mechanisms,
    "errors": errors,
    "apdus": apdus,
    "classes": classes,
}
"""Name in a page's marker -> generator of what stands there."""

FILES: dict[str, Callable[[], str]] = {"pictures/layers.svg": layers_picture}
"""Path under docs/ -> generator of the whole file."""


def generated() -> dict[Path, str]:
    """Return every generated or part-generated file with the text it should have."""
    texts = {DOCS / name: generator() for name, generator in FILES.items()}
    used: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        used.add(match[2])
        return f"{match[1]}\n{BLOCKS[match[2]]()}\n{match[3]}"

    for page in sorted(DOCS.rglob("*.md")):
        texts[page] = BLOCK.sub(fill, page.read_text())
    if unused := set(BLOCKS) - used:
        raise SystemExit(f"docs/gen.py: no page shows {', '.join(sorted(unused))}")
    return texts


def main() -> int:
    """Write what is behind; with --check only name it and return 1."""
    behind = [
        (path, text) for path, text in generated().items() if not path.exists() or path.read_text() != text
    ]
    for path, text in behind:
        name = path.relative_to(DOCS.parent)
        if "--check" in sys.argv:
            print(f"{name} is behind the code: run `python docs/gen.py`")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"written: {name}")
    return 1 if behind and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
