"""Values of settings as newsletter.toml has them, and where each comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from enum import Enum, StrEnum
from typing import NamedTuple

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from newsletter.settings import Settings


class Source(StrEnum):
    """Where the value of a setting comes from."""

    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class Spelled(NamedTuple):
    """One setting, to be shown to the operator."""

    name: str
    description: str
    source: Source
    #: The value as newsletter.toml has it; None if it is a secret, or has one in it.
    value: str | None


def spelled(settings: Settings) -> Iterator[Spelled]:
    """Yield all settings in their order; no part of a secret is in them, nor its length."""
    secrets = [one for one in settings.secrets() if one]
    for name, field in type(settings).model_fields.items():
        text = toml(getattr(settings, name))
        is_secret = not field.repr or any(one in text for one in secrets)
        source = _source(settings, name)
        yield Spelled(name, field.description or "", source, None if is_secret else text)


def default(field: FieldInfo) -> object:
    """Return the default of a setting; None if it has none."""
    found = field.get_default(call_default_factory=True)
    return None if found is PydanticUndefined else found


def toml(value: object) -> str:
    """Return a value in the form of newsletter.toml."""
    if value is None:
        return '""'
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, default=str)
    if hasattr(value, "isoformat"):
        return json.dumps(value.isoformat("minutes"))
    return json.dumps(str(value.value if isinstance(value, Enum) else value), ensure_ascii=False)


def _source(settings: Settings, name: str) -> Source:
    is_named = any(one.upper() == f"NEWSLETTER_{name.upper()}" for one in os.environ)
    if settings.reads_environment and is_named:
        return Source.ENVIRONMENT
    return Source.FILE if name in settings.model_fields_set else Source.DEFAULT
