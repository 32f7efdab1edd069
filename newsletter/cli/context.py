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
    """Options that stand before the command, and what is made from them on first use."""

    config: Path | None = None
    #: Whether NEWSLETTER_* counts more than the file; the demo stands alone.
    environment: bool = True
    _settings: Settings | None = field(default=None, repr=False)
    _publication: Publication | None = field(default=None, repr=False)

    @property
    def settings(self) -> Settings:
        """The settings; ConfigurationError names each bad one."""
        # Imported on first use: the overview of the commands needs none of it.
        from newsletter import settings as configuration

        if self._settings is None:
            self._settings = configuration.load(self.config, environment=self.environment)
        return self._settings

    @property
    def publication(self) -> Publication:
        """The publication that the settings describe."""
        from newsletter.publication import Publication

        if self._publication is None:
            self._publication = Publication.of(self.settings)
        return self._publication

    def plan(self) -> Plan:
        """Return how a worker sends, by the settings."""
        from newsletter.sender.plan import Plan

        return Plan.of(self.settings)

    def log(self, *, default: str | None = None) -> None:
        """Write what happens to standard error, as the settings say.

        Without log_level from the level `default` on; without either only errors, in bare words.
        """
        level, secrets = self.settings.log_level or default, tuple(self.settings.secrets())
        if level:
            logs.configure(logs.Configuration(self.settings.log_format, level, secrets))
        else:
            logs.hide(secrets)

    @contextmanager
    def database(self, *, checked: bool = True) -> Iterator[Engine]:
        """Open the database; SchemaOutOfDate names the command that mends an old schema."""
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
    """Return who runs this command, as the audit names them: cli:mia, also behind sudo."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, ImportError, OSError):
        # A container's user may have no name.
        name = str(os.getuid())
    return f"cli:{''.join(filter(str.isprintable, name))[:90]}"


def legible(value: str | None) -> str | None:
    """Return an option's words, or refuse what no list can show: control characters, no text."""
    if value is not None and not value.isprintable():
        raise typer.BadParameter("has a character in it that cannot be shown.")
    return value


def of(context: typer.Context) -> Context:
    """Return our context from Typer's."""
    found = context.find_object(Context)
    assert found is not None
    return found
