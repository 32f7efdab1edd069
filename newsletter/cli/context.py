"""The context of a command: the settings, read once, and the database on the right schema."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from newsletter import logs
from newsletter.cli import garbage

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.publication import Publication
    from newsletter.sender.plan import Plan
    from newsletter.settings import Settings


@dataclass
class Context:
    """The options before the command, and the objects that are made from them on first use."""

    config: Path | None = None
    #: Whether NEWSLETTER_* variables override the file; the demo ignores them.
    environment: bool = True
    _settings: Settings | None = field(default=None, repr=False)
    _publication: Publication | None = field(default=None, repr=False)

    @property
    def settings(self) -> Settings:
        """The settings; raises ConfigurationError with each invalid one."""
        # Imported late, because the overview of the commands does not need the settings.
        from newsletter import settings as configuration

        if self._settings is None:
            self._settings = configuration.load(self.config, environment=self.environment)
        return self._settings

    @property
    def publication(self) -> Publication:
        """The publication of the settings."""
        from newsletter.publication import Publication

        if self._publication is None:
            self._publication = Publication.of(self.settings)
        return self._publication

    def plan(self) -> Plan:
        """Return the parameters of a worker, from the settings."""
        from newsletter.sender.plan import Plan

        return Plan.of(self.settings)

    def log(self, *, default: str | None = None) -> None:
        """Log events to standard error, in the format and from the level in the settings.

        If log_level is not set, `default` is the level; without either, only errors are written, as
        plain text.
        """
        level, secrets = self.settings.log_level or default, tuple(self.settings.secrets())
        if level:
            logs.configure(logs.Configuration(self.settings.log_format, level, secrets))
        else:
            logs.hide(secrets)

    @contextmanager
    def database(self, *, checked: bool = True) -> Iterator[Engine]:
        """Open the database; SchemaOutOfDate has a hint how to upgrade an old schema."""
        from newsletter.db import engine as engines
        from newsletter.db import schema

        engine = engines.open(self.settings.database_url)
        try:
            if checked:
                schema.check(engine)
            garbage.resume()
            yield engine
        finally:
            engine.dispose()


def actor() -> str:
    """Return the person who runs this command, for the audit log: cli:mia, also with sudo."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, ImportError, OSError):
        # In a container, the user may have no name.
        name = str(os.getuid())
    return f"cli:{''.join(filter(str.isprintable, name))[:90]}"


def legible(value: str | None) -> str | None:
    """Return an option's text; raise BadParameter if it has characters that cannot be printed."""
    if value is not None and not value.isprintable():
        raise typer.BadParameter("has a character in it that cannot be shown.")
    return value


def of(context: typer.Context) -> Context:
    """Return the Context object in Typer's context."""
    found = context.find_object(Context)
    assert found is not None
    return found
