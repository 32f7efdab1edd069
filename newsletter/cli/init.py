"""`newsletter init`: a commented settings file with a fresh secret, and an empty database."""

from __future__ import annotations

import json
import os
import secrets
import textwrap
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from newsletter import settings as configuration
from newsletter.cli import context, output
from newsletter.db import schema
from newsletter.db.engine import shown
from newsletter.errors import Conflict
from newsletter.settings import Settings

#: Settings that every publication has to review; the others are commented out.
_FIRST = ("name", "sender", "postal_address", "base_url", "timezone", "smtp_url", "secret_keys")


def init(ctx: typer.Context) -> None:
    """Write a commented newsletter.toml with a fresh secret, and make the database."""
    found = context.of(ctx)
    file = found.config or configuration.DEFAULT_FILE
    write(file)
    with context.Context(config=file).database(checked=False) as engine:
        schema.upgrade(engine)
        url = shown(engine)
    output.say(f"Wrote {file} (with a new secret key: keep it private) and made {url}.")
    output.say(
        f"Next: fill in sender, postal_address and base_url in {file} (before that no mail leaves "
        "it), then"
    )
    output.say("  newsletter feeds add https://your-site.example/feed.xml")
    output.say("  newsletter subscribers add you@your-site.example --cadence weekly")
    output.say("  newsletter preview weekly")
    output.say("  newsletter send weekly")


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
    return _toml(_default(Settings.model_fields[name]))


def _default(field: FieldInfo) -> object:
    default = field.get_default(call_default_factory=True)
    return None if default is PydanticUndefined else default


def _entry(name: str, field: FieldInfo, values: dict[str, Any], *, shown: bool) -> list[str]:
    value = values.get(name, _default(field))
    comment = textwrap.wrap(
        field.description or "", 96, initial_indent="# ", subsequent_indent="# "
    )
    line = f"{name} = {_toml(value)}"
    return [*comment, line if shown else f"#{line}", ""]


def _toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value)
    if hasattr(value, "isoformat"):
        return json.dumps(value.isoformat("minutes"))
    return json.dumps(str(value.value if isinstance(value, Enum) else value), ensure_ascii=False)
