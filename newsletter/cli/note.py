"""`newsletter note`: the editor's text above the articles of the next edition."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import clock
from newsletter.cadences import Cadence
from newsletter.cli import context, output
from newsletter.cli.send import CadenceArgument
from newsletter.errors import InvalidInput

if TYPE_CHECKING:
    from newsletter.models import Note


def note(
    ctx: typer.Context,
    cadence: CadenceArgument,
    text: Annotated[
        str | None,
        typer.Argument(help="What it says, in Markdown; - for standard input. None: show it."),
    ] = None,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
    json: output.Json = False,
) -> None:
    """Put a note above the articles of the next edition of a cadence, and of that one alone.

    It replaces a note that is waiting. Paragraphs, emphasis, links, lists, quotations and headings
    are shown; of pictures only the alternative text. `newsletter preview` shows the mail.
    """
    from newsletter.editions import editor

    if remove and text is not None:
        raise InvalidInput("Give a text or --remove, not both.")
    now, actor = clock.utc_now(), context.actor()
    with context.of(ctx).database() as engine:
        if remove:
            found = editor.remove_note(engine, cadence, now=now, actor=actor)
        elif text is not None:
            written = _standard_input() if text == "-" else text
            found = editor.write_note(engine, cadence, written, now=now, actor=actor)
        else:
            found = editor.waiting_note(engine, cadence)
    if json:
        waits = found is not None and not remove
        output.as_json({"cadence": cadence, "note": found.text if found and waits else None})
    else:
        _print_note(found, cadence, is_removed=remove)


def _print_note(found: Note | None, cadence: Cadence, *, is_removed: bool) -> None:
    from newsletter.rendering import note as notes
    from newsletter.rendering.plaintext import Notes

    if found is None:
        output.say(f"No note waits for the next {cadence} edition.")
    elif is_removed:
        output.say(f"The note for the next {cadence} edition is taken back.")
    else:
        output.say(f"The next {cadence} edition has this note:\n")
        links = Notes()
        output.say(notes.plain(found.text, links))
        for number, url in links:
            output.say(f"[{number}] {url}")


def _standard_input() -> str:
    from newsletter.rendering.note import LONGEST

    try:
        # The limit in octets, as a character of UTF-8 has at most four.
        return sys.stdin.buffer.read(4 * LONGEST + 4).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidInput("Standard input is not UTF-8.", hint="Save the text as UTF-8.") from exc
