"""Refuses to send with incomplete settings, unless all mailboxes are on this machine."""

from __future__ import annotations

from sqlalchemy import Engine

from newsletter import address
from newsletter.db import session as sessions
from newsletter.doctor import setup
from newsletter.settings import Settings
from newsletter.subscribers import store


def require_for_readers(engine: Engine, settings: Settings) -> None:
    """Raise ConfigurationError for incomplete settings, unless all readers are local."""
    if not is_ready(engine, settings):
        setup.require(settings)


def is_ready(engine: Engine, settings: Settings) -> bool:
    """Return whether settings are complete, or all readers have mailboxes on this machine."""
    if not setup.incomplete(settings):
        return True
    with sessions.reading(engine) as session:
        return store.has_only_local(session)


def require_for(recipient: str, settings: Settings) -> None:
    """Raise ConfigurationError for incomplete settings, unless one mailbox is local."""
    if not address.is_local_domain(recipient.rpartition("@")[2]):
        setup.require(settings)
