"""`meterseal keys generate`, `import`, `export`: files with which meters' keys travel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from meterseal.cli import keys_options as given
from meterseal.cli import options, output
from meterseal.cli import pki_options as pki
from meterseal.credentials.files import LARGEST_KEY, read_private, write_private
from meterseal.errors import Misuse

if TYPE_CHECKING:
    from meterseal.authority.shipment import Shipped
    from meterseal.authority.store import Store
    from meterseal.crypto import SigningKey
    from meterseal.crypto.certificates import Certificate
    from meterseal.crypto.keyfiles import Key

    _Seal = tuple[Certificate, Certificate, SigningKey]

_LARGEST: Final = 1 << 30

Receiver = Annotated[
    Path | None,
    typer.Option("--for", help="Certificate for key agreement of who may open it.", metavar="FILE"),
]
Sender = Annotated[
    Path | None,
    typer.Option("--from", help="Certificate for signatures of who sends it.", metavar="FILE"),
]
PrivateKey = Annotated[
    Path | None,
    typer.Option("--private-key", help="Our private key: it signs, or opens what comes.", metavar="FILE"),
]
KeyPassword = Annotated[
    str | None,
    typer.Option("--key-password", help="Password of the private key: @FILE or env:NAME.", metavar="K"),
]
Lab = Annotated[
    bool, typer.Option("--lab", help="Take weak and default keys too, and mark them. Never in the field.")
]


@given.takes_two
def generate(
    store: given.Where,
    template: Annotated[
        Path, typer.Option("--template", help="What the meters are like (TOML).", metavar="FILE")
    ],
    count: Annotated[int, typer.Option("--count", help="How many.", min=1, max=1_000_000, metavar="N")],
    out: Annotated[
        Path, typer.Option("--out", help="The file for the factory, mode 0600. A new file.", metavar="FILE")
    ],
    receiver: Receiver = None,
    sender: Sender = None,
    private_key: PrivateKey = None,
    key_password: KeyPassword = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Make new meters by a template: titles and keys of each, into the store and into a file for the factory.

    With --for the file is sealed for its receiver; without, its keys are readable to who has it.
    """
    with given.opened(store, kek, by) as opened, _line_by_line():
        from meterseal.authority import shipment

        seal = _sealing(receiver, sender, private_key, key_password)
        open_file = {"template": template.name, "count": count, "file": out.name}
        given.act(opened, *(("generate",) if seal else ("generate-open", open_file, why)))
        shipped = list(shipment.generate(shipment.read_template(template), count))
        body = shipment.write_own(shipped)
        # In the store first: a meter of which only the factory has the keys would be nobody's.
        shipment.take_in(opened, shipped, "generated", why=why)
        _write(opened, out, body, seal, why)
    _told(shipped, json, "generated")


@given.takes_two
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file with the meters.")],
    store: given.Where,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping",
            help="What stands where in a maker's CSV, XML or KEM file (TOML). Default: a file of our own.",
            metavar="FILE",
        ),
    ] = None,
    transport_key: Annotated[
        str | None,
        typer.Option("--transport-key", help=f"KEK under which its keys are. {options.KEY}.", metavar="K"),
    ] = None,
    rsa_key: Annotated[
        Path | None,
        typer.Option("--rsa-key", help="Private RSA key under which its keys are, PEM.", metavar="FILE"),
    ] = None,
    file_password: Annotated[
        str | None,
        typer.Option("--password", help="Password of the file: @FILE or env:NAME.", metavar="K"),
    ] = None,
    receiver: Receiver = None,
    sender: Sender = None,
    private_key: PrivateKey = None,
    key_password: KeyPassword = None,
    lab: Lab = False,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Take meters of a file into the store, all or none; what is wrong is told of every line.

    Refused are keys that are weak, published, or come twice, titles that are there already, keys of another
    length than the suite's. A sealed file is opened with --for, --from and --private-key. With people on the
    roll a trust anchor that the store does not know takes two.
    """
    transport = options.key(transport_key, "--transport-key")
    secret = pki.password(file_password)
    with given.opened(store, kek, by) as opened, _line_by_line():
        from meterseal.authority import shipment
        from meterseal.authority.adoption import strange_anchors
        from meterseal.crypto import WrappingKey
        from meterseal.crypto.hashes import digest_of
        from meterseal.crypto.transport import RsaTransportKey

        octets = read_private(file, "shipment", _LARGEST)
        digest = digest_of(octets).hex().upper()
        note = None
        if receiver is not None:
            octets, note = _unsealed(opened, octets, receiver, sender, private_key, key_password)
        if mapping is None:
            shipped = shipment.read_own(octets)
        else:
            rsa = None if rsa_key is None else RsaTransportKey(read_private(rsa_key, "RSA key", 1 << 16))
            wrapping = None if transport is None else WrappingKey(transport)
            means = shipment.Transport(wrapping, rsa, secret)
            shipped = shipment.read_shipment(shipment.read_mapping(mapping), octets, means)
        if found := strange_anchors(opened, *(one.credentials for one in shipped)):
            about = {"file": file.name, "sha256": digest, "meters": len(shipped), "anchors": found}
            given.act(opened, "trust-anchor", about, why)
        else:
            given.act(opened, "import")
        shipment.take_in(opened, shipped, f"import {file.name}"[:64], why=why, lab=lab)
        if note is not None:
            opened.counters.note_received(*note)
            opened.counters.sync()
    _told(shipped, json, "imported")


@given.takes_two
def export(
    store: given.Where,
    receiver: Annotated[
        Path, typer.Option("--for", help="Certificate for key agreement of who may open it.", metavar="FILE")
    ],
    sender: Annotated[
        Path, typer.Option("--from", help="Certificate for signatures of who sends it.", metavar="FILE")
    ],
    private_key: Annotated[
        Path, typer.Option("--private-key", help="Private key of the sender, PEM.", metavar="FILE")
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write, mode 0600. A new file.", metavar="FILE")],
    device: Annotated[
        list[str] | None,
        typer.Option("--device", help="This device; may be given several times.", metavar="TITLE"),
    ] = None,
    key_password: KeyPassword = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Hand over the active keys of devices to a named receiver, sealed and signed. Say why (--why).

    Nobody else opens the file, and the receiver takes it once.
    """
    titles = [given.title(text) for text in device or ()]
    if not titles:
        raise typer.BadParameter("name the devices", param_hint="--device")
    with given.opened(store, kek, by) as opened:
        if not why:
            raise Misuse("export: say why")
        from meterseal.authority.adoption import credentials_of
        from meterseal.authority.shipment import Shipped, write_own
        from meterseal.authority.shipment.envelope import fingerprint
        from meterseal.crypto import SigningKey

        seal = (
            _certificate(receiver),
            _certificate(sender),
            _own_key(private_key, SigningKey, key_password),
        )
        about = {"devices": [title.hex().upper() for title in titles], "for": fingerprint(seal[0])}
        given.act(opened, "export", about, why)
        shipped = []
        for title in titles:
            known = opened.keys.device(title)
            found = credentials_of(opened, title, need=known.roles)
            shipped.append(Shipped(title.hex().upper(), found, known.serial, known.place))
        _write(opened, out, write_own(shipped), seal, why, titles)
    _told(shipped, json, "exported")


@given.takes_two
def export_credentials(
    store: given.Where,
    device: given.Device,
    out: Annotated[Path, typer.Option("--out", help="File to write, mode 0600.", metavar="FILE")],
    role: given.Roles = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            help="Lend the keys: from then on their use is refused. Default: no end.",
            metavar="DATE",
        ),
    ] = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Write a credentials file with a device's active keys, for some roles or for all.

    It counts above all that was used, and has 10,000 messages in each role. It works until somebody else
    speaks in the same role, for a device takes no counter below one that it has seen; and until --until,
    which the file says (`not_after`). Who is on the roll as engineer is lent keys for 30 days at the most.
    """
    end = None if until is None else pki.moment(until, "--until")
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.adoption import export_credentials
        from meterseal.cli.keys_pages import iso
        from meterseal.keys.people import check_loan

        about = {"devices": [device.upper()], "roles": role or []}
        if opened.core.people:
            holder = opened.people.holder(given.who().signing_key())
            check_loan(holder.name, holder.duties, end, opened.core.moment)
        given.act(opened, "export-credentials", about if end is None else about | {"until": iso(end)}, why)
        roles = export_credentials(opened, given.title(device), out, role or (), why, end)
    if json:
        output.emit_json({"device": device.upper(), "roles": roles, "until": iso(end), "file": str(out)})
    else:
        output.emit(f"{out}: {device.upper()}, {', '.join(roles)}" + (f", until {iso(end)}" if end else ""))


@contextmanager
def _line_by_line() -> Iterator[None]:
    """A file of which nothing was taken in: a line on stderr for each thing that is wrong, exit code 1."""
    from meterseal.authority.shipment import Refusal

    try:
        yield
    except Refusal as error:
        first, *lines = error.told
        for line in (f"{error.kind}: {first}", *lines):
            output.note(line)
        raise typer.Exit(output.REFUSED) from None


# --- how ----------------------------------------------------------------------------------------


def _certificate(path: Path) -> Certificate:
    return pki.certificates(path)[0]


def _own_key(path: Path, kind: type[Key], password: str | None) -> Key:
    from meterseal.crypto.keyfiles import read_key

    pem = read_private(path, "private key", LARGEST_KEY)
    return read_key(pem, kind, pki.password(password, "--key-password"))


def _sealing(
    receiver: Path | None, sender: Path | None, private_key: Path | None, password: str | None
) -> _Seal | None:
    """For whom and from whom a file is sealed; None for one that stays open."""
    if receiver is None:
        if sender is not None or private_key is not None:
            raise Misuse("whom is it for? Say --for")
        return None
    if sender is None or private_key is None:
        raise Misuse("a sealed file is signed: say --from and --private-key")
    from meterseal.crypto import SigningKey

    return _certificate(receiver), _certificate(sender), _own_key(private_key, SigningKey, password)


def _write(
    store: Store,
    out: Path,
    body: bytes,
    seal: _Seal | None,
    why: str,
    titles: list[bytes] | None = None,
) -> None:
    """Seal and write a file; its number is that of its entry in the journal, so none comes twice."""
    from meterseal.authority.shipment import seal_envelope
    from meterseal.authority.shipment.envelope import fingerprint

    to = None if seal is None else fingerprint(seal[0])
    with store.core.acting(why) as act:
        for title in titles or ():
            act.note("export", title, to=to)
        number = act.note("export-file", count=len(titles or ()) or None, to=to, file=out.name[:64])
    if seal is not None:
        to_whom, from_whom, key = seal
        body = seal_envelope(body, to_whom, from_whom, key, number, store.core.moment)
    write_private(out, body, "shipment", new=True)


def _unsealed(
    store: Store,
    octets: bytes,
    receiver: Path,
    sender: Path | None,
    private_key: Path | None,
    password: str | None,
) -> tuple[bytes, tuple[str, int]]:
    """What is in an envelope, and what is noted once it was taken in: it comes once."""
    if sender is None or private_key is None:
        raise Misuse("a sealed file is opened with --from and --private-key")
    from meterseal.authority.shipment import open_envelope
    from meterseal.crypto import AgreementKey

    key = _own_key(private_key, AgreementKey, password)

    def floor(name: str) -> int:
        return store.counters.received(f"envelope-{name}") or 0

    body, name, number = open_envelope(octets, _certificate(receiver), key, _certificate(sender), floor)
    return body, (f"envelope-{name}", number + 1)


def _told(shipped: list[Shipped], json: bool, verb: str) -> None:
    titles = [(one.credentials.meter.system_title or b"").hex().upper() for one in shipped]
    if json:
        output.emit_json({"count": len(titles), "first": titles[0], "last": titles[-1]})
    else:
        output.emit(f"{verb} {len(titles)} devices, {titles[0]} to {titles[-1]}")
