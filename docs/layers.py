"""The packages in layers, as the import contract has them, and their picture."""

from __future__ import annotations

import tomllib
from pathlib import Path

from docs.markdown import first_sentence, table

ROOT = Path(__file__).resolve().parent.parent
BOX, GAP, MARGIN, WIDTH = 40, 18, 16, 760  # of the picture, in pixels


def layers() -> list[list[str]]:
    """Read the layers contract: the names of each layer, top first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    rows = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip(" ()") for name in row.split("|")] for row in rows]


def source(package: str) -> Path:
    """Return the file whose docstring speaks for a package (or for a module of the same name)."""
    at = ROOT / "src" / "meterseal" / package
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


def packages() -> str:
    """List the packages, upper first, with the first sentence of their docstring."""
    rows = []
    for names in layers():
        for name in names:
            if source(name).exists():
                rows.append((f"`{name}`", first_sentence(source(name).read_text().split('"""')[1])))
    return table(("package", "what it is"), rows)
