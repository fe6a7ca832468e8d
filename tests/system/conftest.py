"""The servers of these tests: a token of SoftHSM, a database of PostgreSQL; none asked for, none used."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PIN = "471108"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A run that did not ask for servers says so, also where some happen to be installed."""
    if not os.environ.get("METERSEAL_SYSTEM"):
        mark = pytest.mark.skip(reason="needs real servers: make test-system")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(mark)


class SoftHsm:
    """A token made for these tests, with the environment that finds it."""

    def __init__(self, module: str, label: str) -> None:
        self.module, self.label, self.pin = module, label, PIN

    def uri(self, name: str) -> str:
        return f"pkcs11:token={self.label};object={name}"


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    module = next((path for path in MODULES if Path(path).exists()), None)
    assert module is not None, "SoftHSM is not installed: make test-system installs it"
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("SOFTHSM2_CONF", str(conf))
    patch.setenv("METERSEAL_PKCS11_MODULE", module)
    patch.setenv("METERSEAL_HSM_PIN", PIN)
    for label in ("meterseal", "second"):
        command = [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "5678",
        ]
        subprocess.run(command, check=True, capture_output=True)
    yield SoftHsm(module, "meterseal")
    patch.undo()


@pytest.fixture
def postgres() -> str:
    """The URL of a database that is empty."""
    import psycopg

    server = os.environ.get("METERSEAL_TEST_POSTGRES", "")
    assert server, "no PostgreSQL server: make test-system starts one"
    name = f"test_{os.getpid()}_{os.urandom(4).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server.rsplit('/', 1)[0]}/{name}".replace("postgresql://", "postgresql+psycopg://")
