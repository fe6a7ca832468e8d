"""The symmetric keys of a Security setup by their number in key_transfer and key_agreement (security 8)."""

from __future__ import annotations

from typing import Final

GUEK, GBEK, GAK, KEK = 0, 1, 2, 3
"""key_id of class 64; version 0 knows no KEK."""

NAMES: Final = {GUEK: "guek", GBEK: "gbek", GAK: "gak", KEK: "kek"}
"""What they are called in credentials and in a meter's configuration."""
