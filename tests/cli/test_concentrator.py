"""`meterseal concentrator run` as a process: the line it says, its credentials, its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from meterseal.credentials import Credentials

COMMAND = "from meterseal.cli import main; main()"


def test_it_listens_writes_its_credentials_and_ends_on_a_signal(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('# none yet\n[meters.one]\naddress = "01"\nurl = "tcp://127.0.0.1:1"\n')
    words = ["concentrator", "run", "--config", "c.toml", "--credentials-out", "own.toml", "--state", "state"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on tcp://127.0.0.1:")
        own = Credentials.load(tmp_path / "own.toml")
        assert own.meter.url == line.split()[-1]
        assert {"operator", "manager", "public"} == set(own.roles)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_mistake_in_the_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[meters.one]\n")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "concentrator", "run", "--config", "c.toml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "[meters.one] address: missing" in done.stderr
