"""`newsletter preview`: the mail of a cadence as it would be now, without sending an edition."""

from __future__ import annotations

import webbrowser
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import address, clock, tokens
from newsletter.cadence import Cadence
from newsletter.cli import context, files, output, setup
from newsletter.cli.send import CadenceArgument
from newsletter.errors import TransportUnavailable

if TYPE_CHECKING:
    from newsletter.rendering.message import CompiledMessage
    from newsletter.settings import Settings

#: Whose links a preview carries: no reader has this id.
_NOBODY = "preview_________"


def preview(
    ctx: typer.Context,
    cadence: CadenceArgument,
    *,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the .html, .txt and .eml files are written.")
    ] = Path("preview"),
    to: Annotated[
        str | None, typer.Option("--to", help="Send the mail to this one address as well.")
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Open the mail in the browser.")] = False,
    json: output.Json = False,
) -> None:
    """Write the mail that a new reader would get now as HTML, text and .eml; send no edition."""
    from newsletter.editions import publish

    found = context.of(ctx)
    recipient = f"reader@{found.settings.sender_domain}"
    if to:
        recipient = address.normalise(to, local=True)
        setup.require_for(recipient, found.settings)
    with found.database() as engine:
        rendered = publish.preview(engine, cadence, now=clock.utc_now(), settings=found.settings)
    message = filled(rendered.message, found.settings, recipient)
    written = _write(folder, cadence, message)
    if to:
        _send(found.settings, recipient, message)
    if json:
        output.as_json(
            {"cadence": cadence, "subject": rendered.message.subject, "files": written, "to": to}
        )
    else:
        output.say(f"{rendered.message.subject}")
        output.say(f"Wrote {', '.join(map(str, written))}.")
        if to:
            output.say(f"Sent to {recipient}; its links work for nobody.")
    if opened:
        webbrowser.open(written[0].resolve().as_uri())


def filled(compiled: CompiledMessage, settings: Settings, recipient: str) -> bytes:
    """Return a message as a reader would get it; its links work for nobody."""
    from newsletter.delivery.ledger import Claim
    from newsletter.delivery.personalize import Filler, Stamp

    claim = Claim(
        id=0,
        mailing_id=0,
        address=recipient,
        reference=_NOBODY,
        generation=0,
        since_at=None,
        created_at=clock.utc_now(),
        attempts=0,
    )
    stamp = Stamp(tokens.new_public_id(), settings.sender_domain, settings.zone, settings.language)
    return Filler(settings.keyring()).fill(compiled, stamp=stamp, claim=claim)


def _write(folder: Path, cadence: Cadence, message: bytes) -> tuple[Path, Path, Path]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    page, text, eml = (folder / f"{cadence}.{kind}" for kind in ("html", "txt", "eml"))
    for path, kind in ((page, "html"), (text, "plain")):
        files.write(path, part(message, kind))
    files.write(eml, message)
    return page, text, eml


def part(message: bytes, kind: str) -> str:
    """Return one of the two parts of a message, html or plain."""
    parsed = message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    body = parsed.get_body((kind,))
    assert body is not None
    content: str = body.get_content()
    return content


def _send(settings: Settings, recipient: str, message: bytes) -> None:
    from newsletter.delivery import worker
    from newsletter.smtp.reply import Kind

    try:
        outcome = worker.post(worker.Plan.of(settings), recipient, message)
    except TransportUnavailable as exc:
        raise TransportUnavailable(
            exc.message, hint="Look at NEWSLETTER_SMTP_URL; the files above are written."
        ) from exc
    if outcome.kind is not Kind.ACCEPTED:
        raise TransportUnavailable(
            f"The preview was not accepted: {outcome.code or ''} {outcome.text}".rstrip() + "."
        )
