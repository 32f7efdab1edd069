"""The check before mail leaves: the commands that send refuse a set-up that is not complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli import output

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.settings import Settings

_FORCE_HELP = "Work with sender, base_url or postal_address not filled in, too, to try things out."
#: The option of commands that send and have nothing else to force.
Force = Annotated[bool, typer.Option("--force", help=_FORCE_HELP)]


def require(settings: Settings, *, force: bool = False) -> None:
    """Raise ConfigurationError naming each setting without which no mail may leave.

    With `force` they are named on standard error instead.
    """
    from newsletter.doctor import setup

    if force:
        warn(settings)
    else:
        setup.require(settings)


def require_for_readers(engine: Engine, settings: Settings, *, force: bool = False) -> None:
    """Do the same, unless every reader who can be mailed has a mailbox on this machine."""
    from newsletter.db import session as sessions
    from newsletter.doctor import setup
    from newsletter.subscribers import store

    if not setup.incomplete(settings):
        return
    with sessions.reading(engine) as session:
        is_local = store.has_only_local(session)
    if not is_local:
        require(settings, force=force)


def require_for(recipient: str, settings: Settings) -> None:
    """Do the same for one mail, unless it goes to a mailbox on this machine."""
    from newsletter import address

    if not address.is_local_domain(recipient.rpartition("@")[2]):
        require(settings)


def warn(settings: Settings) -> None:
    """Name on standard error each setting without which no mail should leave."""
    from newsletter.doctor import setup

    for finding in setup.incomplete(settings):
        output.warn(finding.sentence, finding.hint)
