"""The fenced blocks of a page, by heading."""

from __future__ import annotations

import re
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block of a page, with its language."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    """Return the blocks in their order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(*one) for one in found]


def under(text: str, heading: str) -> list[Block]:
    """Return the blocks between a heading and the next one of any level."""
    inside = re.sub(
        r"^```.*?^```$", lambda found: found[0].replace("\n#", "\n\0"), text, flags=re.M | re.S
    )
    parts = re.split(r"^#+ (.+)$", inside, flags=re.MULTILINE)
    return blocks(parts[parts.index(heading) + 1].replace("\0", "#"))


def only(text: str, heading: str, language: str) -> str:
    """Return the one block of a language under a heading."""
    (found,) = [block.text for block in under(text, heading) if block.language == language]
    return found
