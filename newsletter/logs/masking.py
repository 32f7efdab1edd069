"""Masks everything that logs must not contain: secrets, signed links, passwords, addresses.

Events do not contain these on purpose; masking is a second safeguard, for texts quoted from
servers, feeds and errors. It is applied to the text of every value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "\N{HORIZONTAL ELLIPSIS}"
#: Maximum characters of a value that are searched, and that are kept.
_READ, _KEPT = 8_000, 2_000
#: Shorter secrets are not searched, as they occur by chance; in a URL they are masked before the @.
_SHORTEST_SECRET = 6
# Tokens of newsletter/tokens.py: id and generation, optionally an instant, and a signature, with
# dots between. Tokens of other programs, such as JSON Web Tokens (RFC 7519), have the same form.
_TOKEN = re.compile(r"[\w-]{16,}+(?:\.[\w-]{4,})?\.[\w-]{43,}", re.ASCII)
# The local parts of newsletter/return_path.py.
_RETURN_PATH = re.compile(r"b-[a-z2-7]{36}", re.ASCII | re.IGNORECASE)
_HOOK = re.compile(r"(/hooks/[\w-]+/)[^\s\"'<>?#]+")
# User and password of a URL, up to its last @, because a password may contain unescaped characters.
_USERINFO = re.compile(r"(?<=://)[^\s\"'<>]*@")
_LOGIN = re.compile(r"[^\s\"'<>:@/]{1,200}:(?!//)[^\s\"'<>@]{1,200}@")
# The query and the fragment of a link may contain a key.
_QUERY = re.compile(r"(https?://[^\s\"'<>?#]*)[?#][^\s\"'<>]+", re.IGNORECASE)
_LOCAL = r"[^\s<>()\[\],;:\"'@=/]"
_ADDRESS = re.compile(rf"(?:\"([^\"\n])[^\"\n]{{0,64}}\"|((?!{MASK}){_LOCAL}){_LOCAL}*+)@")

#: Secrets of the settings, the longest first.
_secrets: tuple[str, ...] = ()


def hide(secrets: Iterable[str]) -> None:
    """Also mask these secrets from now on, wherever they occur."""
    global _secrets  # noqa: PLW0603 - one process has one set of secrets
    found = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
    _secrets = tuple(sorted({*_secrets, *found}, key=len, reverse=True))


def masked(text: str) -> str:
    """Return a text without secrets, signed links, passwords and full addresses, shortened."""
    text = _hidden(text[:_READ])
    if "." in text:
        text = _TOKEN.sub(MASK, text)
    if "/" in text:
        text = _QUERY.sub(rf"\1?{MASK}", _HOOK.sub(rf"\1{MASK}", text))
    if "@" in text:
        text = _LOGIN.sub(f"{MASK}@", _USERINFO.sub(f"{MASK}@", text))
        text = _ADDRESS.sub(lambda found: f"{found[1] or found[2]}{MASK}@", text)
    text = _RETURN_PATH.sub(f"b-{MASK}", text)
    return text if len(text) <= _KEPT else f"{text[:_KEPT]}{MASK}"


def masked_lines(text: str) -> str:
    """Mask each line of a text, such as a traceback."""
    return "\n".join(masked(line) for line in text.splitlines())


def _hidden(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return text
