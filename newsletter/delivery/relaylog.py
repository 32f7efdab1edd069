"""What a relay says it has accepted: a Postfix log, or a list of Message-IDs or queue ids.

Pure: lines in, entries out, in memory that does not grow with them. A log may hold anything; what
is no line of Postfix's that speaks of a message says nothing here.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from newsletter.delivery import personalize

#: How many of our messages may be between their Message-ID and their acceptance in one log. It is
#: a moment; those that stay are of clients that vanished, and the oldest of them are given up.
PENDING = 50_000

# Month, day and time, or an instant of RFC 3339; then the machine, where there is one. No word of
# another program's line passes: the first name with a [number] must be Postfix's.
_LINE = re.compile(
    r"(?:[^\s\[]*[^\s\[:] +){0,5}?(?:(?P<host>[^\s\[:]+) +)?"
    r"[\w.-]+(?:/[\w.-]+)*/(?P<daemon>[\w-]+)\[\d+\]: "
    r"(?P<queue_id>[0-9A-Za-z]{4,32}): (?P<said>.*)",
    re.ASCII | re.DOTALL,
)
_MESSAGE_ID = re.compile(r"message-id=(?P<message_id>.*)", re.DOTALL)
# Whose message a queue id is from here on, before its Message-ID is known.
_BEGUN = re.compile(r"client=|uid=\d")
_ACTIVE = re.compile(r"from=<.*>, .*\(queue active\)\s*\Z", re.DOTALL)
_DELIVERED = re.compile(r"to=<.*>, .*\bstatus=(?:sent|deferred|bounced)\b", re.DOTALL)
_ENTRY = re.compile(r"[!-~]+")
_QUEUE_ID = re.compile(r"[0-9A-Za-z-]{4,32}")
#: What servers call a message when they take it: Postfix's words, and Exim's.
_NAMED = re.compile(r"(?:\bqueued as |\bid=)([0-9A-Za-z-]{4,32})", re.IGNORECASE)


class Entry(NamedTuple):
    """One line of a list, or one message of a log; with neither it is nobody's here."""

    #: Mailing and reference, of a Message-ID of ours.
    message_id: tuple[str, str] | None = None
    #: Of a log beside the Message-ID, of a list alone.
    queue_id: str | None = None


def read(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Give what each line of a list names, and of a log each message that was accepted.

    A message of ours counts as accepted only with what follows from it: its queue id became
    active, or was delivered or tried. Its Message-ID alone is of a client that may have vanished
    in the middle. Messages of others are given without a name, to be counted.
    """
    log = _Log()
    for octets in lines:
        line = octets.decode("utf-8", "replace").strip()
        if not line:
            continue
        entry = log.read(line) if " " in line else _listed(line)
        if entry is not None:
            yield entry


def queue_ids(reply: str) -> list[str]:
    """Return the queue ids that a server's reply names."""
    return _NAMED.findall(reply)


def _listed(line: str) -> Entry:
    """Read one line of a list."""
    if "@" in line:
        return Entry(_ours(line))
    return Entry(queue_id=line if _QUEUE_ID.fullmatch(line) else None)


def _ours(text: str) -> tuple[str, str] | None:
    return personalize.parse_message_id(text) if _ENTRY.fullmatch(text) else None


class _Log:
    """Which queue ids are messages of ours that are not accepted yet, at one place of the log.

    Queue ids come again, so they are paired in the order of the log, and machine by machine.
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[tuple[str | None, str], tuple[str, str]] = OrderedDict()

    def read(self, line: str) -> Entry | None:
        """Take one line; return the message that it completes."""
        found = _LINE.match(line)
        if found is None:
            return None
        daemon, said = found["daemon"], found["said"]
        key = (found["host"], found["queue_id"])
        if daemon == "cleanup":
            named = _MESSAGE_ID.match(said)
            return self._begin(key, named["message_id"].strip()) if named else None
        if key not in self._pending:
            return None
        if _BEGUN.match(said) or said == "removed":
            del self._pending[key]
        elif _is_accepted(daemon, said):
            return Entry(self._pending.pop(key), key[1])
        return None

    def _begin(self, key: tuple[str | None, str], text: str) -> Entry | None:
        self._pending.pop(key, None)
        message_id = _ours(text)
        if message_id is None:
            return Entry()
        self._pending[key] = message_id
        if len(self._pending) > PENDING:
            self._pending.popitem(last=False)
        return None


def _is_accepted(daemon: str, said: str) -> bool:
    if daemon in {"qmgr", "oqmgr", "nqmgr"}:
        return _ACTIVE.match(said) is not None
    return _DELIVERED.match(said) is not None
