"""Duties, deeds and requests as tables: what takes two never happens with one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Misuse, NotAllowed, NotApproved
from meterseal.keys.kinds import KINDS
from meterseal.keys.lifecycle import Verb
from meterseal.keys.people import (
    ANSWERS,
    DEEDS,
    DUTIES,
    Ask,
    Duty,
    Say,
    allows,
    answered,
    check_duty,
    deed,
    quorum,
)


def test_every_duty_has_words_and_every_deed_somebody() -> None:
    assert set(DUTIES) == set(Duty)
    assert all(row.duties for row in DEEDS.values())
    with pytest.raises(Misuse, match="no deed"):
        deed("everything")


def test_G20_what_gives_keys_away_or_ends_them_takes_two() -> None:
    two = {name for name, row in DEEDS.items() if row.four_eyes}
    assert {"export", "export-credentials", "generate-open", "destroy", "master-key", "trust-anchor"} <= two
    assert "person" in two
    for name in two:
        assert Duty.APPROVER not in DEEDS[name].duties, "who approves does not ask"
    assert [name for name, row in DEEDS.items() if Verb.DESTROY in row.verbs] == ["destroy"]


def test_G20_an_auditor_changes_nothing_and_an_operator_gives_no_key_away() -> None:
    assert not [name for name, row in DEEDS.items() if Duty.AUDITOR in row.duties]
    mine = {name for name, row in DEEDS.items() if Duty.OPERATOR in row.duties}
    assert mine == {"rotate", "recover", "campaign", "rewrap", "revoke"}


def test_G20_a_duty_does_what_its_row_says() -> None:
    for name, duty in product(DEEDS, Duty):
        if duty in DEEDS[name].duties:
            assert check_duty("anna", [duty], name) is DEEDS[name]
        else:
            with pytest.raises(NotAllowed, match=f"anna is {duty.value}"):
                check_duty("anna", [duty], name)


def test_G06_the_KEK_of_a_device_is_staged_where_two_have_agreed() -> None:
    may = [name for name in DEEDS if allows(name, Verb.STAGE, "kek")]
    assert may == ["campaign", "master-key"], "a campaign with a KEK in it is planned as master-key"
    for kind in KINDS:
        assert allows("rotate", Verb.STAGE, kind) is (kind != "kek")
        assert not allows("rotate", Verb.DESTROY, kind)
    assert allows("recover", Verb.ACTIVATE, "kek"), "what was begun is ended by anybody"


@given(st.lists(st.sampled_from(Say), max_size=8))
def test_a_request_is_done_once_and_after_its_approval(said: list[Say]) -> None:
    state, heard = Ask.ASKED, []
    for one in said:
        try:
            state = answered(state, one, 7)
            heard.append(one)
        except NotApproved as error:
            assert "request 7" in str(error)
            assert (state, one) not in ANSWERS
    assert heard.count(Say.RUN) <= 1
    if Say.RUN in heard:
        assert heard == [Say.APPROVE, Say.RUN] and state is Ask.DONE


@given(st.dictionaries(st.sampled_from("abcd"), st.frozensets(st.sampled_from(Duty)), max_size=4))
def test_a_quorum_is_two_different_people(held: dict[str, frozenset[Duty]]) -> None:
    pairs = [
        (one, other)
        for one, other in product(held, held)
        if one != other and Duty.OFFICER in held[one] and Duty.APPROVER in held[other]
    ]
    assert quorum(held.items()) is bool(pairs)
