"""The one place that masks what no log may hold: secrets, signed links, passwords, addresses.

Rooms leave these out of their events; this is the second net, for what servers, feeds and errors
quote. It works on the text of every value, whichever room it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "\N{HORIZONTAL ELLIPSIS}"
#: Characters of a value that are looked at, and that are kept.
_READ, _KEPT = 8_000, 2_000
#: A shorter secret occurs by chance; in a URL it is masked as what stands before the @.
_SHORTEST_SECRET = 6
# The forms of newsletter/tokens.py: id and generation, perhaps an instant, and a signature, each
# behind a dot. So is what other signers make, such as a JSON Web Token (RFC 7519).
_TOKEN = re.compile(r"[\w-]{16,}+(?:\.[\w-]{4,})?\.[\w-]{43,}", re.ASCII)
# The form of newsletter/return_path.py.
_RETURN_PATH = re.compile(r"b-[a-z2-7]{36}", re.ASCII | re.IGNORECASE)
_HOOK = re.compile(r"(/hooks/[\w-]+/)[^\s\"'<>?#]+")
# User and password of a URL, up to its last @: a password may hold what should be escaped.
_USERINFO = re.compile(r"(?<=://)[^\s\"'<>]*@")
_LOGIN = re.compile(r"[^\s\"'<>:@/]{1,200}:(?!//)[^\s\"'<>@]{1,200}@")
# The query and the fragment of a link can be a key to what is behind it.
_QUERY = re.compile(r"(https?://[^\s\"'<>?#]*)[?#][^\s\"'<>]+", re.IGNORECASE)
_LOCAL = r"[^\s<>()\[\],;:\"'@=/]"
_ADDRESS = re.compile(rf"(?:\"([^\"\n])[^\"\n]{{0,64}}\"|((?!{MASK}){_LOCAL}){_LOCAL}*+)@")

#: Secrets of the settings, the longest first.
_secrets: tuple[str, ...] = ()


def hide(secrets: Iterable[str]) -> None:
    """Mask these, too, wherever they occur from now on."""
    global _secrets  # noqa: PLW0603 - one process has one set of secrets
    found = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
    _secrets = tuple(sorted({*_secrets, *found}, key=len, reverse=True))


def masked(text: str) -> str:
    """Return a text without secrets, links that act, passwords and full addresses; shortened."""
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
    """Return a text of many lines, such as a traceback, with each of them masked."""
    return "\n".join(masked(line) for line in text.splitlines())


def _hidden(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return text
