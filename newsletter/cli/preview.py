"""`newsletter preview`: renders the mail of a cadence as it would be now, without an edition."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import address, clock
from newsletter.cadences import Cadence
from newsletter.cli import context, files, output, sample, setup
from newsletter.errors import ConfigurationError, NotFound, RenderError

if TYPE_CHECKING:
    from newsletter.editions.editor import Skipped
    from newsletter.rendering.compile import Rendered
    from newsletter.settings import Settings

_LOOK_SECONDS = 0.5
#: HTML that makes a browser reload the page every two seconds, without a script.
_RELOAD = '<meta http-equiv="refresh" content="2">'


def preview(
    ctx: typer.Context,
    cadence: Annotated[
        Cadence | None,
        typer.Argument(help="daily, weekly or monthly; of a sample, weekly by default."),
    ] = None,
    *,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the .html, .txt and .eml files are written.")
    ] = Path("preview"),
    to: Annotated[
        str | None, typer.Option("--to", help="Send the mail to this one address as well.")
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Open the mail in the browser.")] = False,
    sampled: Annotated[
        bool,
        typer.Option("--sample", help="Show sample articles, with every section of a digest."),
    ] = False,
    watched: Annotated[
        bool,
        typer.Option("--watch", help="Write it again whenever a template changes; Ctrl-C ends it."),
    ] = False,
    json: output.Json = False,
) -> None:
    """Write the mail that a new reader would get now as HTML, text and .eml; send no edition.

    With --sample, the mail is about sample articles and needs no database: to look at templates.
    With --watch, the page that is written reloads itself.
    """
    from newsletter.sender import trial

    cadence = cadence or _of_sample(sampled=sampled)
    found = context.of(ctx)
    recipient = f"reader@{found.settings.sender_domain}"
    if watched:
        if to or json:
            raise typer.BadParameter("--watch goes with neither --to nor --json.")
        _watch(found, folder, cadence, sampled=sampled, opened=opened)
        return
    if to:
        recipient = address.normalise(to, local=True)
        setup.require_for(recipient, found.settings)
    rendered = _rendered(found, cadence, sampled=sampled)
    off = None if sampled else _skipped(found, cadence)
    message = trial.filled(rendered.message, found.settings, recipient, now=clock.utc_now())
    written = _write(folder, cadence, message, found.settings)
    _warn_of_unused(found.settings)
    if to:
        trial.post(found.settings, recipient, message)
    if json:
        output.as_json(
            {
                "cadence": cadence,
                "subject": rendered.message.subject,
                "files": written,
                "to": to,
                "skipped": off.edition if off else None,
            }
        )
    else:
        output.say(f"{rendered.message.subject}")
        output.say(f"Wrote {', '.join(map(str, written))}.")
        if to:
            output.say(f"Sent to {recipient}; its links work for nobody.")
        if off:
            output.say(f"{off.edition} is skipped; the next one is {off.following}.")
    if opened:
        webbrowser.open(written[0].resolve().as_uri())


def _of_sample(*, sampled: bool) -> Cadence:
    """Return the default cadence: weekly for a sample; otherwise raise an error."""
    if not sampled:
        raise typer.BadParameter("name a cadence: daily, weekly or monthly.")
    return Cadence.WEEKLY


def _rendered(found: context.Context, cadence: Cadence, *, sampled: bool) -> Rendered:
    from newsletter.editions import publish
    from newsletter.editions.compose import MailRenderer

    settings, now = found.settings, clock.utc_now()
    if sampled:
        return sample.rendered(MailRenderer(found.publication), cadence, settings, now)
    with found.database() as engine:
        return publish.preview(engine, cadence, now=now, publication=found.publication)


def _skipped(found: context.Context, cadence: Cadence) -> Skipped | None:
    from newsletter.editions import editor

    with found.database() as engine:
        return editor.next_skipped(
            engine, cadence, now=clock.utc_now(), publication=found.publication
        )


def _write(
    folder: Path, cadence: Cadence, message: bytes, settings: Settings, *, head: str = ""
) -> tuple[Path, Path, Path]:
    """Write the three files; `head` is added to the page alone."""
    from newsletter.sender import trial

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    page, text, eml = (folder / f"{cadence}.{kind}" for kind in ("html", "txt", "eml"))
    html = trial.part(message, "html").replace(sample.picture_url(settings), sample.PICTURE)
    files.write(page, html.replace("<head>", f"<head>{head}", 1))
    files.write(text, trial.part(message, "plain"))
    files.write(eml, message)
    return page, text, eml


def _watch(
    found: context.Context, folder: Path, cadence: Cadence, *, sampled: bool, opened: bool
) -> None:
    """Write the mail whenever a template file changes, until a signal."""
    from newsletter.sender.shutdown import on_signals

    templates = found.settings.templates
    if templates is None:
        raise ConfigurationError(
            "No folder of templates is set: there is nothing to watch.",
            setting="templates",
            hint="`newsletter templates copy email/digest --folder templates` makes one; then set "
            'templates = "templates" in newsletter.toml.',
        )
    output.say(f"Watching {templates}; Ctrl-C ends it.")
    seen: object = None
    with on_signals() as shutdown:
        while not shutdown.is_wanted:
            files_now = _fingerprint(templates)
            if files_now != seen:
                _write_again(found, folder, cadence, sampled=sampled)
                if opened and seen is None:
                    webbrowser.open((folder / f"{cadence}.html").resolve().as_uri())
            seen = files_now
            shutdown.wait(_LOOK_SECONDS)


def _fingerprint(templates: Path) -> frozenset[tuple[str, int, int]]:
    """Return a fingerprint that differs after any file of a folder has changed."""
    found = set()
    for path in templates.rglob("*"):
        # A text editor may replace a file between listing and `stat`.
        with suppress(OSError):
            stat = path.stat()
            found.add((str(path), stat.st_mtime_ns, stat.st_size))
    return frozenset(found)


def _write_again(found: context.Context, folder: Path, cadence: Cadence, *, sampled: bool) -> None:
    """Write the mail, or the error in its templates, as a page that reloads itself."""
    from newsletter.sender import trial

    settings = found.settings
    try:
        rendered = _rendered(found, cadence, sampled=sampled)
        recipient = f"reader@{settings.sender_domain}"
        message = trial.filled(rendered.message, settings, recipient, now=clock.utc_now())
        written = _write(folder, cadence, message, settings, head=_RELOAD)
    except (RenderError, NotFound) as exc:
        output.warn(exc.message, exc.hint)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wrong = f"<!doctype html><meta charset=utf-8>{_RELOAD}<p>{escape(exc.message)}</p>"
        files.write(folder / f"{cadence}.html", wrong)
        return
    output.say(f"{clock.utc_now().astimezone(settings.zone):%H:%M:%S} Wrote {written[0]}.")
    _warn_of_unused(settings)


def _warn_of_unused(settings: Settings) -> None:
    """Print a warning about template files of the publisher that have no effect."""
    from newsletter.rendering import environment, overrides

    if settings.templates is not None:
        templates = environment.build(settings.templates, settings.language)
        if idle := overrides.sentence(settings.templates, templates):
            output.warn(idle, "`newsletter templates list` shows all names.")
