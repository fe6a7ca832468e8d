"""The house rules: each complaint has a file that earns it and one that does not."""

from __future__ import annotations

import pytest

from tools import check

HASH = "    --hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("name", "text", "complains"),
    [
        ("a.py", '"""Says what this file is."""', False),
        ("a.py", "import os", True),
        ("a.py", "", True),
        ("a.toml", "# Says what this file is.", False),
        ("a.toml", "[project]", True),
        ("a.md", "# Title", False),
        ("a.md", "Title", True),
        (".ci/run", "#!/usr/bin/env bash\n# Runs the checks and tests.", False),
        (".ci/run", "#!/usr/bin/env bash\nset -e", True),
        ("a.strange", "# Says what this file is.", True),
        ("a.json", "{}", False),
    ],
)
def test_first_line(name: str, text: str, complains: bool) -> None:
    assert bool([*check.first_line(name, text.splitlines())]) is complains


@pytest.mark.parametrize(
    ("line", "complains"),
    [
        ("see /" + "home/me/keys.toml", True),
        ('open("/' + 'tmp/x")', True),
        ("https://example.org/" + "home/page", False),
        ("docs/" + "home/page", False),
    ],
)
def test_machine_paths(line: str, complains: bool) -> None:
    assert bool([*check.machine_paths("a.md", [line])]) is complains


@pytest.mark.parametrize(
    ("lines", "complains"),
    [
        (["# Lock", "good==1.0 \\", HASH], False),
        (["good==1.0"], True),
        (["--extra-index-url x", "good==1.0 \\", HASH], True),
        (["good @ file:///x", HASH], True),
        (["good>=1.0 \\", HASH], True),
        (["cryptography==50.0 \\", HASH, "cryptography-vectors==49.0 \\", HASH], True),
    ],
    ids=["good", "no hash", "index", "url", "no pin", "vectors apart"],
)
def test_lock(lines: list[str], complains: bool) -> None:
    assert bool([*check.lock(lines)]) is complains


def test_a_circle_of_imports_is_found() -> None:
    assert not list(check.circles({"a": {"b"}, "b": {"c"}, "c": set()}))
    (complaint,) = check.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert all(name in complaint for name in "abc")


def test_every_file_of_the_package_is_looked_at() -> None:
    imports = check.imports_of("meterseal")
    assert "meterseal.meter.server" in imports["meterseal.meter.fleet"]
    assert len(imports) > 300
