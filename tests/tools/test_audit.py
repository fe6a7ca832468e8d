"""The dependency audit: a finding fails, a service out of reach is said aloud, unknown is never clean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import audit

KNOWN = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "strange", "skip_reason": "not found"}
NO_NETWORK = "requests.exceptions.ConnectionError: Failed to resolve 'service.example'"


@pytest.mark.parametrize(
    ("packages", "stderr", "code", "says"),
    [
        ([KNOWN], "", 0, "1 packages clean"),
        ([KNOWN, BAD], "", 1, "VULNERABLE: bad 2.0: CVE-1, mended in ['2.1']"),
        ([KNOWN, UNKNOWN], "", 0, "NOT AUDITED, unknown to the service: strange"),
        ([UNKNOWN], "", 0, "SKIPPED, the service that answered knows none of the 1 packages"),
        (None, NO_NETWORK, 0, "SKIPPED, the vulnerability service cannot be reached"),
        (None, "Traceback: something else", 1, "broken"),
    ],
    ids=["clean", "finding", "some unknown", "all unknown", "no network", "broken"],
)
def test_audit_verdict(
    packages: list[object] | None,
    stderr: str,
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    monkeypatch.setattr(audit, "CACHE", tmp_path / "audit.json")
    monkeypatch.setattr(audit, "ask", lambda: (answer, stderr))
    assert audit.main() == code
    assert says in capsys.readouterr().out
    assert audit.CACHE.exists() == (says == "1 packages clean")


def test_clean_answer_is_kept_for_the_same_lock_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "CACHE", tmp_path / "audit.json")
    monkeypatch.setattr(audit, "ask", lambda: (json.dumps({"dependencies": [KNOWN]}), ""))
    assert audit.main() == 0
    monkeypatch.setattr(audit, "ask", lambda: ("", "broken"))
    assert audit.main() == 0
    other = tmp_path / "constraints.txt"
    other.write_text("# another lock\n")
    monkeypatch.setattr(audit, "LOCK", other)
    assert audit.main() == 1
