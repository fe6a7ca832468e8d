"""The crypto and security tests against the oldest `cryptography` that pyproject.toml allows (`make oldest`).

The lock has the newest; the oldest goes into a folder of its own, in front of the environment, for one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/crypto", "tests/security", "tests/hostile/test_core_messages.py")


def wanted() -> str:
    """Return the requirement on `cryptography`, as pyproject.toml states it."""
    needs: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (need,) = [need for need in needs if need.startswith("cryptography")]
    return need


def oldest(need: str) -> str:
    """Return the lowest release that a requirement `NAME>=X,<Y` allows, as far as it is written."""
    return need.partition(">=")[2].partition(",")[0].strip()


def main() -> int:
    """Install, say which version is tested, run the tests; return their exit code."""
    uv = str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory() as folder:
        install = [uv, "pip", "install", "-q", "--python", sys.executable, "--target", folder]
        subprocess.run([*install, "--resolution", "lowest-direct", wanted()], check=True)
        environment = os.environ | {"PYTHONPATH": folder}
        say = "import cryptography; print(cryptography.__version__)"
        said = subprocess.run(
            [sys.executable, "-c", say], env=environment, check=True, capture_output=True, text=True
        )
        version = said.stdout.strip()
        print(f"cryptography {version}", flush=True)
        if version.split(".")[0] != oldest(wanted()).split(".")[0]:
            print(f"that is not the oldest of {wanted()}")
            return 1
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "not soak", *TESTS]
        return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
