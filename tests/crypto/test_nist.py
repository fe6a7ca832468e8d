"""The NIST sets that come with `cryptography_vectors`, through our own handles: GCM of our sizes, wrap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest

from meterseal.crypto import WrappingKey
from meterseal.errors import Forged
from tests.crypto.test_wycheproof import Bare

SETS = Path(cryptography_vectors.__file__).parent
BITS = (128, 256)
"""Key sizes that suites have."""


def rows(name: str) -> Iterator[dict[str, str]]:
    """The vectors of a CAVS file: fields of each and of its section; `FAIL` where it has to fail."""
    section: dict[str, str] = {}
    row: dict[str, str] = {}
    for line in (SETS / name).read_text().splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if row and (line.startswith("[") or line.upper().startswith("COUNT")):
            yield {**section, **row}
            row = {}
        key, _, value = (part.strip() for part in line.strip("[]").partition("="))
        (section if line.startswith("[") else row)[key] = value
    if row:
        yield {**section, **row}


def octets(row: dict[str, str], *names: str) -> list[bytes]:
    return [bytes.fromhex(row[name]) for name in names]


@pytest.mark.parametrize("bits", BITS)
def test_gcm_with_iv_and_tag_of_96_bits(bits: int) -> None:
    seen: Counter[str] = Counter()
    for way in ("Decrypt", "EncryptExtIV"):
        for row in rows(f"ciphers/AES/GCM/gcm{way}{bits}.rsp"):
            if (row["IVlen"], row["Taglen"]) != ("96", "96"):
                continue
            ek, iv, ct, aad, tag = octets(row, "Key", "IV", "CT", "AAD", "Tag")
            key = Bare(ek)
            key.aad = key._additional[0x30] = aad
            if "FAIL" in row:
                with pytest.raises(Forged):
                    key.open(0x30, iv, ct + tag)
                seen["forged"] += 1
                continue
            (plain,) = octets(row, "PT")
            assert key.open(0x30, iv, ct + tag) == plain
            assert key.seal(0x30, iv, plain) == ct + tag
            assert key.seal(0x20, iv, plain) == ct
            if not ct:
                key.aad = key._additional[0x10] = b""
                assert key.tag(0x10, iv, aad) == tag  # authentication only: all of it is additional data
            seen["right"] += 1
    assert sum(seen.values()) == 750 and seen["forged"] > 150, seen


@pytest.mark.parametrize("bits", BITS)
def test_key_wrap(bits: int) -> None:
    seen: Counter[str] = Counter()
    for way in ("AD", "AE"):
        for row in rows(f"keywrap/kwtestvectors/KW_{way}_{bits}.txt"):
            kek, wrapped = octets(row, "K", "C")
            handle = WrappingKey(kek)
            if "FAIL" in row:
                with pytest.raises(Forged):
                    handle.unwrap(wrapped)
                seen["forged"] += 1
                continue
            (plain,) = octets(row, "P")
            assert handle.unwrap(wrapped) == plain
            assert handle.wrap(plain) == wrapped
            seen["right"] += 1
    assert seen["right"] > 800 and seen["forged"] > 50, seen
