"""`meterseal keys revoke`: what others may have is marked everywhere; who holds it, what is to be done."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from meterseal.cli import keys_options as given
from meterseal.cli import options, output
from meterseal.cli import pki_options as pki
from meterseal.cli.keys_end import MARKED_FIRST, MARKED_TOO, chosen
from meterseal.cli.output import answering
from meterseal.errors import Misuse

if TYPE_CHECKING:
    from meterseal.authority.store import Store, Stored
    from meterseal.authority.store.exposing import Exposure
    from meterseal.keys.compromise import Step

_NAMED: Final = 4
"""Devices that an error names at the most."""


def revoke(
    store: given.Where,
    device: given.MaybeDevice = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="Kind of the key that others may have.",
            metavar="KIND",
            callback=options.understood("--kind", given.kind),
        ),
    ] = None,
    role: given.OneRole = "",
    number: given.Number = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", help="This certificate, and what it has certified.", metavar="FILE"),
    ] = None,
    crl: Annotated[
        Path | None,
        typer.Option("--list", help="All that a revocation list names (`pki crl`).", metavar="FILE"),
    ] = None,
    issuer: Annotated[
        Path | None, typer.Option("--issuer", help="Certificate of who made the list.", metavar="FILE")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="Since when others may have it. Default: its first day.", metavar="DATE"
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Mark nothing; show what it would mean.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Mark nothing; show how long each device was exposed.")
    ] = False,
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign",
            help="Write what is to be done as campaigns of this name.",
            metavar="NAME",
            callback=given.understood("--campaign", given.campaign),
        ),
    ] = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Mark a key or a certificate as compromised, wherever it is held: from now on it protects nothing.

    It serves to bring in its successor and nothing else. What is to be done is shown, the most urgent first:
    `keys rotate` does it, or `keys campaign run`, and ends the exposure. Say why (--why).
    """
    named = [kind is not None, certificate is not None, crl is not None]
    moment = None if since is None else pki.moment(since, "--since")
    with answering():
        if report and any(named):
            raise Misuse("--report is of all that was marked, or of one --device: it takes nothing else")
        paired = (kind is None or device is not None) and (crl is None) is (issuer is None)
        if not report and not (sum(named) == 1 and paired):
            raise Misuse("name one of --device with --kind, --certificate, --list with --issuer, --report")
    with given.opened(store, kek, by) as opened:
        if report:
            _reported(opened, opened.exposures.report(given.maybe_title(device)), json)
            return
        from meterseal.authority import revoking
        from meterseal.keys.lifecycle import State

        found: list[tuple[Stored, datetime | None]]
        if kind is not None:
            wanted = given.maybe_title(device) or b""
            again = campaign is not None and revoking.planned(opened, campaign)
            record = chosen(opened, wanted, role, kind, number, MARKED_FIRST if again else MARKED_TOO)
            if again and number is None and record.state is State.COMPROMISED:
                output.note(f"key {record.id} is meant, which is marked already; a newer one: --key")
            found = [(one, moment) for one in opened.exposures.same(record.id)]
        elif certificate is not None:
            (pem, *_) = pki.certificates(certificate)
            found = [(one, moment) for one in opened.exposures.with_certificate(pem)]
        else:
            assert crl is not None and issuer is not None  # noqa: S101 - as looked at above
            listed = opened.exposures.on_list(pki.revocation_list(crl), pki.certificates(issuer)[0])
            found = [(one, moment or revoked) for one, revoked in listed.values()]
        steps = revoking.steps(opened, found)
        if not plan:
            if campaign is not None:
                _may_plan(opened, campaign, steps)
            given.act(opened, "revoke")
            if not found:
                raise Misuse("there is nothing to mark: nobody holds it")
            revoking.revoke(opened, found, steps, why, campaign)
        _shown(opened, [one for one, _ in found], steps, json)


def _may_plan(store: Store, name: str, steps: list[Step]) -> None:
    """Before anything is marked: who acts may plan these campaigns too.  Raises Misuse, NotAllowed."""
    masters = list({step.slot.device: None for step in steps if step.slot.kind == "kek"})
    if store.core.people and masters:
        chosen = " ".join(f"--device {title.hex().upper()}" for title in masters[:_NAMED])
        raise Misuse(
            "nothing is marked: the KEK of a device takes two.  Mark it without --campaign, then ask: "
            f"`keys request campaign new {name} --kind kek {chosen}`"
            + (f" and {len(masters) - _NAMED} more devices" if len(masters) > _NAMED else "")
        )
    given.act(store, "campaign")


# --- shown --------------------------------------------------------------------------------------


def _shown(store: Store, found: list[Stored], steps: list[Step], json: bool) -> None:
    from meterseal.cli import keys_pages
    from meterseal.keys.compromise import HARMS

    keys = [store.keys.find(one.record.id) for one in found]
    numbers = {one.record.id for one in keys}
    exposed = [one for one in store.exposures.report() if one.key in numbers]
    harm = {one.record.slot.kind: HARMS[one.record.slot.kind].protected for one in keys}
    if json:
        output.emit_json(
            {
                "key": keys_pages.key(keys[0]) if keys else None,
                "holders": [keys_pages.key(one) for one in keys],
                "protected": harm,
                "plan": [_step(step) for step in steps],
                "exposed": [_exposure(one, store.core.moment) for one in exposed],
            }
        )
        return
    for kind, words in harm.items():
        output.heading(f"{kind}: it protected {words}")
    keys_pages.listed(keys)
    output.heading("to be done, the most pressing first")
    rows = [
        [
            str(step.priority),
            step.slot.device.hex().upper(),
            step.slot.role or "-",
            step.slot.kind,
            _words(step),
        ]
        for step in steps
    ]
    output.table(["turn", "device", "role", "kind", "what"], rows)


def _words(step: Step) -> str:
    if step.carried:
        return "rotate: the old one came under the key that others may have"
    if step.certificate:
        return "rotate with --authority: a new pair, and the old certificate is taken off"
    return "rotate"


def _step(step: Step) -> dict[str, Any]:
    from meterseal.cli.keys_pages import slot

    return {
        "turn": step.priority, **slot(step.slot), "remove_certificate": step.certificate,
        "carried": step.carried,
    }  # fmt: skip


def _exposure(one: Exposure, now: datetime) -> dict[str, Any]:
    from meterseal.cli.keys_pages import iso, slot

    return {
        **slot(one.slot), "key": one.key, "kcv": one.kcv, "since": iso(one.since), "marked": iso(one.marked),
        "until": iso(one.until), "seconds": one.seconds(now), "why": one.why,
    }  # fmt: skip


def _reported(store: Store, found: list[Exposure], json: bool) -> None:
    from meterseal.cli.keys_pages import iso

    now = store.core.moment
    if json:
        still = sum(one.until is None for one in found)
        output.emit_json({"still": still, "exposed": [_exposure(one, now) for one in found]})
        return
    rows = [
        [
            one.slot.device.hex().upper(), one.slot.role or "-", one.slot.kind, one.kcv,
            iso(one.since) or "-", iso(one.until) or "still", f"{one.seconds(now) / 3600:.1f}", one.why,
        ]
        for one in found
    ]  # fmt: skip
    output.table(["device", "role", "kind", "kcv", "since", "until", "hours", "why"], rows)
