"""House rules no other tool knows: first lines, file lengths, imports one way, no machine paths, the lock."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
LOCK = "constraints.txt"
LONG, TOO_LONG = 400, 500  # lines of a Python file: reported from the one, refused from the other

OPENINGS: dict[str, str] = {  # suffix or whole name -> pattern of a first line that says what it is
    ".py": r'[rR]?"""\S.{10,}',
    ".md": r"# \S|<!-- \S",
    ".toml": r"# \S.{10,}",
    ".yml": r"# \S.{10,}",
    ".txt": r"# \S.{10,}",
    ".svg": r"<!-- \S.{10,}",
    ".css": r"/\* \S.{10,}",
    ".sh": r"# \S.{10,}",
    "Makefile": r"# \S.{10,}",
    "run": r"# \S.{10,}",
}
MACHINE = re.compile(r"(?<![\w.~-])/(?:work|home|root|Users|opt|tmp)/[A-Za-z]")
ADDRESS = re.compile(r"://|--(?:extra-)?index|--find-links|--trusted-host|\s@\s|(?:^|\s)/\S")
DATA = (".json", ".pem", ".bin", ".hex", ".png", ".key")
BARE = ("LICENSE", "py.typed", ".gitignore")


def tracked() -> list[str]:
    """Return the paths of all files of the project that exist, tracked or new but not ignored."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def first_line(name: str, lines: list[str]) -> Iterator[str]:
    """Complain when a file's first line (second after a #!) does not say what the file is."""
    path = Path(name)
    pattern = OPENINGS.get(path.suffix or path.name)
    if path.name in BARE or path.suffix in DATA:
        return
    if pattern is None:
        yield f"{name}: no rule for the first line of such a file (tools/check.py, OPENINGS)"
        return
    start = 1 if lines and lines[0].startswith("#!") else 0
    if len(lines) <= start or not re.match(pattern, lines[start]):
        yield f"{name}:{start + 1}: the first line says what the file is"


def machine_paths(name: str, lines: list[str]) -> Iterator[str]:
    """Complain about paths that exist on one machine only."""
    if Path(name).suffix in DATA or name == "tools/check.py":
        return
    for number, line in enumerate(lines, 1):
        if found := MACHINE.search(line):
            yield f"{name}:{number}: a machine's path ({found.group()}...)"


def lock(lines: list[str]) -> Iterator[str]:
    """Complain about a lock with addresses, without hashes, or with test vectors of another cryptography."""
    versions: dict[str, str] = {}
    hashed: set[str] = set()
    name = ""
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        if ADDRESS.search(line):
            yield f"{LOCK}:{number}: an address or option in the lock"
        if pinned := re.match(r"([a-z0-9._-]+)==([^ ;\\]+)", line):
            name = pinned.group(1)
            versions[name] = pinned.group(2)
        elif re.match(r"    --hash=sha256:[0-9a-f]{64}\b", line):
            hashed.add(name)
        elif line.strip():
            yield f"{LOCK}:{number}: not a pinned version and not a hash"
    yield from (f"{LOCK}: {bare} has no hash" for bare in sorted(set(versions) - hashed))
    if versions.get("cryptography") != versions.get("cryptography-vectors"):
        yield f"{LOCK}: cryptography-vectors is of another version than cryptography"


def version() -> Iterator[str]:
    """Complain when the package and its metadata name different versions."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if f'__version__ = "{stated}"' not in (ROOT / "src/meterseal/__init__.py").read_text():
        yield f"src/meterseal/__init__.py: __version__ is not {stated} as in pyproject.toml"


def circles(imports: Mapping[str, set[str]]) -> Iterator[str]:
    """Complain about modules that import each other in a circle, be it for the sake of types."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        yield f"a circle of imports: {' <- '.join(error.args[1])}"


def imports_of(package: str) -> dict[str, set[str]]:
    """What each file of a package imports of it; a folder only hands on the names of its files."""
    graph = grimp.build_graph(package, cache_dir=None)
    rooms = {module for module in graph.modules if not graph.find_children(module)}
    return {module: graph.find_modules_directly_imported_by(module) & rooms for module in rooms}


def main() -> int:
    """Check all files, print complaints and long files; return the exit code."""
    complaints = [*version(), *circles(imports_of("meterseal"))]
    names = tracked()
    for name in names:
        if Path(name).suffix in DATA:
            continue
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        complaints += [*first_line(name, lines), *machine_paths(name, lines)]
        if name == LOCK:
            complaints += lock(lines)
        if name.endswith(".py") and len(lines) > LONG:
            print(f"long: {name}: {len(lines)} lines")
        if name.endswith(".py") and len(lines) > TOO_LONG:
            complaints.append(f"{name}: {len(lines)} lines, more than {TOO_LONG}: split it")
    print("\n".join(complaints) if complaints else f"check: {len(names)} files in order")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
