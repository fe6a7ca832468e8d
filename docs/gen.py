"""Generated parts of the docs: pictures and tables drawn from the import contracts and the code's own tables.

A page holds `<!-- gen: NAME -->` and `<!-- end: NAME -->`; what stands between them is written by the
generator of that name. `python docs/gen.py` writes, `--check` complains when a page is behind the code.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))  # for docs.proofs, and for what the tests say of themselves
from docs.commands import commands  # noqa: E402
from docs.layers import layers_picture, packages  # noqa: E402
from docs.markdown import cell, first_sentence, table  # noqa: E402

BLOCK = re.compile(r"(<!-- gen: (\S+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def states() -> str:
    """Tell the association's state table, both roles, as rows."""
    from meterseal.association.states import TABLE

    rows = [
        (
            role.value,
            state.value,
            kind.value,
            f"`{step.action}`",
            "; ".join(f"{outcome}: {following.value}" for outcome, following in step.outcomes.items()),
        )
        for (role, state, kind), step in TABLE.items()
    ]
    return table(("role", "state", "message", "action", "outcome: next state"), rows)


def hdlc_states() -> str:
    """Tell the state table of an HDLC link, both roles; rows that do alike stand together."""
    from meterseal.framing.hdlc.states import TABLE

    alike: dict[tuple[str, ...], list[str]] = {}
    for (role, state, kind), step in TABLE.items():
        outcomes = "; ".join(f"{outcome}: {following.value}" for outcome, following in step.outcomes.items())
        row = (role.value, state.value, f"`{step.action}`", outcomes)
        alike.setdefault(row, []).append("unknown" if kind is None else kind.value)
    rows = [(role, state, ", ".join(kinds), *rest) for (role, state, *rest), kinds in alike.items()]
    return table(("role", "state", "frame", "action", "outcome: next state"), rows)


def suites() -> str:
    """List the security suites with their lengths in octets."""
    from meterseal.crypto.suites import SUITES

    rows = [
        (s.id, s.name, s.key_length, s.wrapped_length, s.tag_length, s.curve or "-", s.hash or "-")
        for s in SUITES.values()
    ]
    return table(("id", "name", "key", "wrapped key", "tag", "curve", "hash"), rows)


def mechanisms() -> str:
    """List the authentication mechanisms and whether they are on without being asked for."""
    from meterseal.security.hls import MECHANISMS

    rows = [(number, f"`{row.name}`", "no" if row.weak else "yes") for number, row in MECHANISMS.items()]
    return table(("number", "name", "on by default"), rows)


def errors() -> str:
    """List the errors that a caller can meet: name, kind in JSON, and who has to act."""
    from meterseal import errors as module

    tree = [error for error in vars(module).values() if isinstance(error, type)]
    ours = [error for error in tree if issubclass(error, module.MetersealError)]
    groups = (module.MetersealError, module.LocalError)
    leaves = [
        error
        for error in ours
        if error not in groups and error.kind not in {one.kind for one in error.__subclasses__()}
    ]
    rows = [
        (f"`{leaf.__name__}`", f"`{leaf.kind}`", leaf.blame.value, first_sentence(leaf.__doc__ or ""))
        for leaf in leaves
    ]
    return table(("class", "kind", "who acts", "meaning"), rows)


def apdus() -> str:
    """List the APDUs by tag with their ciphered forms, and whether they are decoded or known by name only."""
    from meterseal import apdu
    from meterseal.apdu.ciphered import FORMS
    from meterseal.framing import gbt
    from meterseal.security.protect import LAYERED

    names: dict[int, list[str]] = {}
    for message in apdu.MESSAGES:
        names.setdefault(message.tag[0], []).append(message.name)
    ciphered = {
        (form.plain_tag, form.key_set): f"{form.tag:02X}" for form in FORMS.values() if form.plain_tag
    }
    general = {form.tag: [form.name] for form in FORMS.values() if not form.plain_tag}
    by_name = {tag: [name] for tag, name in apdu.UNDECODED.items()}
    around = {gbt.TAG, *LAYERED}  # blocks and layers, which framing and security take off
    rows = [
        (
            f"{tag:02X}",
            ", ".join(f"`{name}`" for name in dict.fromkeys(known)),
            ciphered.get((tag, "global"), "-"),
            ciphered.get((tag, "dedicated"), "-"),
            "known by name" if tag in by_name.keys() - around else "in",
        )
        for tag, known in sorted((names | general | by_name).items())
    ]
    return table(("tag", "APDU", "glo-", "ded-", "this version"), rows)


def classes() -> str:
    """List the interface classes and versions whose attributes and methods are in the tables."""
    from meterseal.cosem.classes import interface_classes

    versions: dict[tuple[int, str], list[int]] = {}
    for entry in interface_classes():
        versions.setdefault((entry.id, entry.name), []).append(entry.version)
    rows = [(number, name, ", ".join(map(str, known))) for (number, name), known in versions.items()]
    return table(("class", "name", "versions known"), rows)


# --- reference ------------------------------------------------------------------------------------


def words(*path: str) -> dict[str, Any]:
    """Read what reference/words.toml says of the keys of one table."""
    found = tomllib.loads((DOCS / "reference" / "words.toml").read_text())
    for name in path:
        found = found[name]
    return found


def keys(rows: Iterable[str], record: Any, *path: str) -> str:
    """List the keys of a table of the code with their words; defaults are those of the record's fields."""
    said, known = words(*path), list(rows)
    if wrong := set(known) ^ set(said):
        raise SystemExit(f"docs/reference/words.toml [{'.'.join(path)}]: {', '.join(sorted(wrong))}")
    defaults = {} if record is None else {field.name: field for field in fields(record)}
    lines = []
    for key in known:
        meaning, otherwise = said[key] if isinstance(said[key], list) else (said[key], None)
        lines.append((f"`{key}`", cell(meaning), cell(otherwise or _default(defaults.get(key)))))
    return table(("key", "what it is", "left out"), lines)


def _default(field: Any) -> str:
    if field is None:
        return ""
    if field.default is MISSING:
        return "needed" if field.default_factory is MISSING else ""
    value = field.default
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, int | float) else str(value or "")


def credentials_table(name: str) -> Callable[[], str]:
    """Return the generator for one table of a credentials file."""

    def listed() -> str:
        from meterseal import credentials
        from meterseal.credentials import fields as rows

        record = f"{name.title().replace('_', '')}Credentials"
        return keys(getattr(rows, name.upper()), getattr(credentials, record), "credentials", name)

    return listed


def meter_table(name: str) -> Callable[[], str]:
    """Return the generator for one table of a meter's configuration."""

    def listed() -> str:
        from meterseal.meter import MeterPlan, ObjectPlan, RolePlan, config_third
        from meterseal.meter import fields as rows
        from meterseal.meter.plan import ThirdPartyPlan

        records = {"METER": MeterPlan, "OBJECT": ObjectPlan, "ROLE": RolePlan, "THIRD_PARTY": ThirdPartyPlan}
        table = config_third if name == "THIRD_PARTY" else rows
        return keys(getattr(table, name), records.get(name), "meter", name.lower())

    return listed


def sealed(way: str) -> Callable[[], str]:
    """Return the generator for one message of the recorded exchange."""
    return lambda: str(import_module("docs.sealed").exchange(way))


def listing(names: Iterable[str]) -> str:
    """Write names in a line."""
    return ", ".join(f"`{name}`" for name in names) + "\n"


def value_types() -> str:
    """List the words for types of values."""
    from meterseal.cosem.shapes import LEAVES

    return listing(word for word, leaf in LEAVES.items() if leaf.tag is not None)


def sources() -> str:
    """List where a simulated value may come from."""
    from meterseal.meter.plant import SOURCES

    return listing(SOURCES)


def services() -> str:
    """List the services that are on when none are named, by their conformance names."""
    from meterseal.apdu.initiate import CONFORMANCE_BITS
    from meterseal.association.profile import SERVER_CONFORMANCE

    return listing(name for name, bit in CONFORMANCE_BITS.items() if bit & SERVER_CONFORMANCE)


def url_schemes() -> str:
    """List the forms of URLs, and whether a meter is spoken to on such lines."""
    from meterseal.net.url import SCHEMES

    rows = [
        (
            f"`{one.name}://{'HOST:PORT' if one.network else 'DEVICE'}`",
            ", ".join(f"`{name}`" for name in sorted(one.options)),
            "yes" if one.supported else "no, it is for `meterseal listen`",
        )
        for one in SCHEMES.values()
    ]
    return table(("URL", "options, `?NAME=VALUE&...`", "to speak to a meter"), rows)


def scenes() -> str:
    """List the scenes of the demo with what they claim."""
    from meterseal.demo.scenes import SCENES

    return table(("scene", "claim"), [(cell(scene.name), cell(scene.claim)) for scene in SCENES])


def peer_options() -> str:
    """List the peer options."""
    from meterseal.security.options import PEER_OPTIONS, toml

    rows = [
        (f"`{name} = {toml(option.deviation)}`", f"`{toml(option.strict)}`", cell(option.does))
        for name, option in PEER_OPTIONS.items()
    ]
    return table(("option", "strict", "such a peer"), rows)


def key_kinds() -> str:
    """List the kinds of keys, and what proves a new one."""
    from meterseal.keys.kinds import KINDS

    rows = [
        (f"`{kind.name}`", kind.material.value, "device" if kind.shared else "role", kind.way.value,
         kind.proof.value)
        for kind in KINDS.values()
    ]  # fmt: skip
    return table(("kind", "what it is", "one per", "how a new one gets there", "what proves it"), rows)


def key_states() -> str:
    """List the states of a key with what it may do in each."""
    from meterseal.keys.lifecycle import MOVES, RULES, STANDING

    def said(allowed: bool) -> str:
        return "yes" if allowed else "no"

    states = [
        (f"`{state.value}`", one.nist, one.meaning, said(one.protect), said(one.open), said(one.held))
        for state, one in STANDING.items()
    ]
    ways: dict[str, list[str]] = {}
    for (before, verb), following in MOVES.items():
        ways.setdefault(verb.value, []).append(f"{before.value if before else '-'}: {following.value}")
    rules = {verb.value: rule for verb, rule in RULES.items()}
    verbs = [
        (f"`{verb}`", rules[verb].meaning, "; ".join(found), said(rules[verb].reason))
        for verb, found in ways.items()
    ]  # fmt: skip
    return "\n".join((
        table(("state", "SP 800-57", "meaning", "protects", "opens", "material kept"), states),
        table(("verb", "meaning", "from: to", "reason needed"), verbs),
    ))  # fmt: skip


def rotation() -> str:
    """Tell the state table of a rotation."""
    from meterseal.keys.rotation import HEARD, MEANING, NEXT, STEP

    phases = [(f"`{phase.value}`", MEANING[phase], STEP[phase].value) for phase in STEP]
    moves = [(phase.value, HEARD[heard], following.value) for (phase, heard), following in NEXT.items()]
    return "\n".join((
        table(("phase", "meaning", "next step"), phases),
        table(("phase", "what was heard", "phase then"), moves),
    ))  # fmt: skip


def elsewhere(module: str, name: str) -> Callable[[], str]:
    """Return the generator for a table that a module beside this one makes."""

    def listed() -> str:
        return table(*getattr(import_module(f"docs.{module}"), name)())

    return listed


BLOCKS: dict[str, Callable[[], str]] = {
    "packages": packages,
    "states": states,
    "hdlc-states": hdlc_states,
    "suites": suites,
    "mechanisms": mechanisms,
    "errors": errors,
    "apdus": apdus,
    "classes": classes,
    "attacks": elsewhere("proofs", "attacks"),
    "commands": commands,
    **{f"credentials-{name}": credentials_table(name) for name in ("meter", "role", "third_party")},
    **{
        f"meter-{name.lower()}": meter_table(name)
        for name in ("METER", "DEVICE", "OBJECT", "ROLE", "GRANT", "USER", "THIRD_PARTY")
    },
    **{f"sealed-{way}": sealed(way) for way in ("request", "answer")},
    "value-types": value_types,
    "sources": sources,
    "services": services,
    "url-schemes": url_schemes,
    "peer-options": peer_options,
    "scenes": scenes,
    **{f"suites-{name}": elsewhere("costs", name) for name in ("measured", "sign_on", "read", "day")},
    "key-kinds": key_kinds,
    "key-states": key_states,
    "rotation": rotation,
    **{f"people-{name}": elsewhere("people", name) for name in ("duties", "deeds", "requests", "harms")},
    **{
        name: elsewhere("proofs", name.replace("-", "_"))
        for name in ("evidence-file", "rules", "gates", "origins")
    },
}
"""Name in a page's marker -> generator of what stands there."""

FILES: dict[str, Callable[[], str]] = {
    "pictures/layers.svg": layers_picture,
    "pictures/sealed.svg": lambda: str(import_module("docs.sealed").picture()),
}
"""Path under docs/ -> generator of the whole file."""


def generated() -> dict[Path, str]:
    """Return every generated or part-generated file with the text it should have."""
    texts = {DOCS / name: generator() for name, generator in FILES.items()}
    used: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        used.add(match[2])
        return f"{match[1]}\n{BLOCKS[match[2]]()}\n{match[3]}"

    for page in sorted(DOCS.rglob("*.md")):
        texts[page] = BLOCK.sub(fill, page.read_text())
    if unused := set(BLOCKS) - used:
        raise SystemExit(f"docs/gen.py: no page shows {', '.join(sorted(unused))}")
    return texts


def main() -> int:
    """Write what is behind; with --check only name it and return 1."""
    behind = [
        (path, text) for path, text in generated().items() if not path.exists() or path.read_text() != text
    ]
    for path, text in behind:
        name = path.relative_to(DOCS.parent)
        if "--check" in sys.argv:
            print(f"{name} is behind the code: run `python docs/gen.py`")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"written: {name}")
    return 1 if behind and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
