"""The page of commands, from the program's own help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docs.markdown import cell, table


def commands() -> str:
    """Describe every command of the command line, from the program's own help."""
    import typer

    from meterseal.cli.app import everything

    return "\n".join(_commands(typer.main.get_command(everything()), "meterseal", None))


def plain(text: str) -> str:
    """Take the words for types out of a help text, and make the rest safe beside HTML."""
    return re.sub(r" <[a-z[\]]+>", "", text).replace("<", "&lt;")


def _commands(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name, parent=parent)
    known = getattr(command, "commands", None)
    if known is not None:
        yield from _before(command, context)
        for below, one in known.items():
            yield from _commands(one, below, context)
        return
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    yield f"## {context.command_path}\n\n```text\n{usage}\n```\n\n{command.help}\n"
    records = [parameter.get_help_record(context) for parameter in command.params]
    yield table(
        ("argument or option", "what it is"),
        [(f"<code>{cell(plain(names))}</code>", cell(plain(text))) for names, text in filter(None, records)],
    )


def _before(family: Any, context: Any) -> Iterator[str]:
    """What stands before the commands of a family."""
    records = [one.get_help_record(context) for one in family.params if one.name not in ("help", "version")]
    if rows := [(f"<code>{cell(plain(names))}</code>", cell(text)) for names, text in filter(None, records)]:
        yield f"## {context.command_path}\n\nBefore the command:\n"
        yield table(("option", "what it is"), rows)
