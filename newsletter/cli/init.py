"""`newsletter init`: a commented settings file with a fresh secret, and an empty database."""

from __future__ import annotations

import os
import secrets
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from pydantic.fields import FieldInfo

from newsletter import clock
from newsletter import settings as configuration
from newsletter.cli import context, findings, output
from newsletter.db import schema
from newsletter.db.engine import shown
from newsletter.errors import Conflict
from newsletter.settings import Settings, spelling

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.doctor.findings import Finding

#: Settings that every publication has to review; the others are commented out.
_FIRST = ("name", "sender", "postal_address", "base_url", "timezone", "smtp_url", "secret_keys")


def init(ctx: typer.Context) -> None:
    """Write a commented newsletter.toml with a fresh secret, and make the database."""
    found = context.of(ctx)
    file = found.config or configuration.DEFAULT_FILE
    write(file)
    made = context.Context(config=file)
    with made.database(checked=False) as engine:
        schema.upgrade(engine)
        output.say(
            f"Wrote {file} (with a new secret key: keep it private) and made {shown(engine)}."
        )
        missing = _missing(made.settings, engine)
    if missing:
        output.say("Before the first edition goes out:")
        findings.bullets(missing)
    output.say(
        "Then `newsletter preview weekly` shows the mail, `newsletter doctor --dns` says whether "
        "it will arrive, and `newsletter send weekly` sends it."
    )


def _missing(settings: Settings, engine: Engine) -> list[Finding]:
    """Return the findings of the doctor at this moment."""
    from newsletter.doctor import local

    examined = local.examine(settings, engine, now=clock.utc_now(), with_relays=True)
    return [one for group in examined for one in group.findings if one.level.needs_a_look]


def write(file: Path, **values: object) -> None:
    """Write the settings file with `values`, readable by its owner only; overwrite none."""
    chosen = {"secret_keys": [secrets.token_urlsafe(36)], **values}
    text = render(chosen)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as exc:
        raise Conflict(
            f"{file} exists already.", hint="Edit it, or name another one with --config."
        ) from exc
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def render(values: dict[str, Any]) -> str:
    """Return newsletter.toml with every setting, its description and its default."""
    fields = Settings.model_fields
    lines = ["# Settings of one newsletter. Every setting can also stand in the environment:"]
    lines += ["# NEWSLETTER_NAME and so on, which then counts more than this file.", ""]
    for name in _FIRST:
        lines += _entry(name, fields[name], values, shown=True)
    lines += ["# What follows has a default that suits most; uncomment to change it.", ""]
    for name, field in fields.items():
        if name not in _FIRST:
            lines += _entry(name, field, values, shown=name in values)
    return "\n".join(lines)


def shown_default(name: str) -> str:
    """Return a setting's default in the form of newsletter.toml."""
    return spelling.toml(spelling.default(Settings.model_fields[name]))


def _entry(name: str, field: FieldInfo, values: dict[str, Any], *, shown: bool) -> list[str]:
    value = values.get(name, spelling.default(field))
    comment = textwrap.wrap(
        field.description or "", 96, initial_indent="# ", subsequent_indent="# "
    )
    line = f"{name} = {spelling.toml(value)}"
    return [*comment, line if shown else f"#{line}", ""]
