"""The check of commands that send: they refuse to run with incomplete settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli import output

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.settings import Settings

_FORCE_HELP = "Work with sender, base_url or postal_address not filled in, too, to try things out."
#: The option `--force` of commands that send, if it has no other meaning.
Force = Annotated[bool, typer.Option("--force", help=_FORCE_HELP)]


def require(settings: Settings, *, force: bool = False) -> None:
    """Raise ConfigurationError with each missing setting that is required for sending.

    With `force`, these are printed to standard error instead.
    """
    from newsletter.doctor import setup

    if force:
        warn(settings)
    else:
        setup.require(settings)


def require_for_readers(engine: Engine, settings: Settings, *, force: bool = False) -> None:
    """Call `require`, unless all readers who can be mailed have mailboxes on this machine."""
    from newsletter.doctor import ready

    if not ready.is_ready(engine, settings):
        require(settings, force=force)


def require_for(recipient: str, settings: Settings) -> None:
    """Call `require` for one mail, unless its mailbox is on this machine."""
    from newsletter.doctor import ready

    ready.require_for(recipient, settings)


def warn(settings: Settings) -> None:
    """Print to standard error each missing setting that is required for sending."""
    from newsletter.doctor import setup

    for finding in setup.incomplete(settings):
        output.warn(finding.sentence, finding.hint)


def warn_if_restored(engine: Engine) -> None:
    """Print to standard error that the database seems to be a restored backup, if it does."""
    from newsletter.db import restore_guard
    from newsletter.db import session as sessions

    with sessions.reading(engine) as session:
        problem = restore_guard.problem(session, engine)
    if problem is not None:
        output.warn(problem.message, problem.hint)
