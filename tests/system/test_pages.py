"""The pages about HSMs: every command in them runs, on SoftHSM, and prints what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Shell, steps, with_free_ports
from tests.docs.test_howto import WITH_HSM
from tests.system.conftest import SoftHsm


@pytest.mark.parametrize("page", WITH_HSM, ids=lambda page: page.stem)
def test_page_does_what_it_says(softhsm: SoftHsm, page: Path, tmp_path: Path) -> None:
    text = page.read_text().replace("/usr/lib/softhsm/libsofthsm2.so", softhsm.module)
    with Shell(tmp_path) as shell:
        for step in steps(with_free_ports(text)):
            shell.run(step)


def test_there_are_such_pages() -> None:
    assert {page.stem for page in WITH_HSM} == {"use-an-hsm", "lose-an-hsm"}
