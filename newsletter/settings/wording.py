"""Error messages for invalid settings, one for each error of pydantic."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic_core import ErrorDetails

#: Settings whose values are never part of a message.
_SECRET = {
    "smtp_url",
    "feedback_url",
    "database_url",
    "ping_url",
    "secret_keys",
    "api_keys",
    "hook_secret",
    "sendgrid_key",
    "postmark_login",
    "mailgun_key",
    "resend_key",
    "generic_hook_key",
}
_LONGEST = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: The required type of a value, by the beginning of pydantic's error type.
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "time": "a time such as 07:00",
    "date": "a date such as 2026-11-23",
    "string": "text in quotes",
    "path": "the path of a folder, in quotes",
    "list": "a list in brackets",
    "dict": "a table in braces",
    "model": "a table in braces",
}
#: The allowed range of a value, by pydantic's error type, with the error's context filled in.
_BOUNDS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_too_short": "at least {min_length} character long",
    "string_too_long": "at most {max_length} characters long",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
#: The form that a pattern requires, by the setting.
_PATTERNS = {"accent": "a colour such as #0b6e6e"}


def sentence(error: ErrorDetails) -> str:
    """Return the sentence for one error: the setting as written in the file, and the requirement.

    The value of a setting that may be a secret is not quoted.
    """
    where, kind = name(error["loc"]), error["type"]
    if kind == "extra_forbidden":
        return f"There is no setting {where}."
    if kind == "value_error":
        return f"{where}: {error['msg'].removeprefix('Value error, ').rstrip('.')}."
    must = _must(kind, error.get("ctx", {}), where)
    shown = "" if _SECRET & set(error["loc"]) else f", and is {_shown(error['input'])}"
    return f"{where}: must be {must}{shown}."


def name(location: Collection[str | int]) -> str:
    """Return a setting's name as written in TOML: `domain_limits."gmail.com".per_minute`."""
    found = ""
    for part in location:
        if isinstance(part, int):
            found += f" number {part + 1}"
        elif part != "[key]":
            key = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            found += f".{key}" if found else key
    return found or "settings"


def _must(kind: str, context: Mapping[str, Any], where: str) -> str:
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(where, "of another form")
    return _KINDS.get(kind.partition("_")[0], "something else")


def _shown(value: object) -> str:
    shown = json.dumps(value, default=str, ensure_ascii=False)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
