"""What is random stays so after a fork: parent and child draw from the system, and no state is shared."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from meterseal.crypto import AgreementKey, GcmKey, SigningKey, WrappingKey, curve, random_octets

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="forks"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

SIGNING = {name: SigningKey.generate(curve(name)) for name in ("P-256", "P-384")}
MASTER, GCM = WrappingKey(bytes(range(16))), GcmKey(bytes(range(16)), bytes(16))
NONCE = b"MSL00001\x00\x00\x00\x01"


def draw() -> Iterator[str]:
    """One of everything that must come once: nonces of signatures, ephemeral and wrapped keys, challenges."""
    for key in SIGNING.values():
        signature = key.sign(b"the same message")
        yield signature[: len(signature) // 2].hex()
        yield AgreementKey.generate(key.curve).public.octets.hex()
    yield MASTER.fresh(16)[0].hex()
    yield random_octets(16).hex()


def in_child() -> list[str]:
    """What a child of this process draws; its handles are those of the parent."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            sealed = GCM.seal(0x30, NONCE, b"a message")
            os.write(writer, "\n".join([sealed.hex(), *draw()]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as told:
        found = told.read().splitlines()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return found


def test_D04_H13_forked_children_draw_what_is_theirs() -> None:
    before = [*draw()]
    children = [in_child() for _ in range(4)]
    sealed = {found.pop(0) for found in children}
    assert sealed == {GCM.seal(0x30, NONCE, b"a message").hex()}, "a key handle works on in a child"
    drawn = [*before, *draw(), *(one for found in children for one in found)]
    assert len(set(drawn)) == len(drawn) == 6 * len(before)


@pytest.mark.soak
def test_D04_a_hundred_thousand_signatures_and_no_nonce_twice() -> None:
    key = SIGNING["P-256"]
    assert len({key.sign(b"the same message")[:32] for _ in range(100_000)}) == 100_000
