"""Dependency audit: known vulnerabilities in the locked versions; says so when nobody could be asked.

Exit 1 only on a finding (or when the audit itself is broken). A clean answer is kept for a day per lock,
so that `make lint` stays quick. A package the service does not know counts as not audited, never as clean.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
CACHE = ROOT / ".venv" / "audit.json"
FRESH_FOR = 24 * 3600  # seconds
NO_SERVICE = ("ConnectionError", "ServiceError", "Timeout", "Max retries", "Failed to resolve", "SSLError")

ACCEPTED: dict[str, str] = {}
"""Finding id -> why it does not touch us. Empty is best."""


def ask() -> tuple[str, str]:
    """Run pip-audit over the lock; return (JSON or "", what it said on stderr)."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(LOCK)]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def judge(answer: str) -> tuple[list[str], list[str], int]:
    """Sort pip-audit's JSON into findings, packages nobody knew, and the number of packages audited."""
    packages = json.loads(answer)["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    findings = [
        f"{package['name']} {package['version']}: {finding['id']}, mended in {finding['fix_versions'] or '-'}"
        for package in packages
        for finding in package.get("vulns", [])
        if finding["id"] not in ACCEPTED
    ]
    return findings, unknown, len(packages) - len(unknown)


def clean_before(key: str) -> bool:
    """Whether the same lock was audited clean within the last day."""
    if not CACHE.exists():
        return False
    kept = json.loads(CACHE.read_text())
    return bool(kept["lock"] == key and 0 <= time.time() - kept["when"] < FRESH_FOR)


def main() -> int:
    """Audit and report; return the exit code."""
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if clean_before(key):
        print("audit: clean (asked within the last day)")
        return 0
    answer, said = ask()
    if not answer.strip():
        reason = said.strip().splitlines()[-1] if said.strip() else "no output"
        if any(sign in said for sign in NO_SERVICE):
            print(f"audit: SKIPPED, the vulnerability service cannot be reached from here ({reason[:160]})")
            return 0
        print(f"audit: broken: {reason}")
        return 1
    findings, unknown, audited = judge(answer)
    for finding in findings:
        print(f"audit: VULNERABLE: {finding}")
    if findings:
        return 1
    if not audited:
        print(f"audit: SKIPPED, the service that answered knows none of the {len(unknown)} packages")
    elif unknown:
        print(f"audit: {audited} packages clean; NOT AUDITED, unknown to the service: {', '.join(unknown)}")
    else:
        print(f"audit: {audited} packages clean")
        CACHE.write_text(json.dumps({"lock": key, "when": time.time()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
