"""What a relay says it has accepted: a Postfix log, or a list of Message-IDs or queue ids.

Pure: lines in, entries out, in memory that does not grow with them. A log may hold anything; what
is no line of Postfix's that speaks of a message says nothing here.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from newsletter.ledger import message_ids

#: How many of our messages may be between their Message-ID and their acceptance in one log. It is
#: a moment; those that stay are of clients that vanished, and the oldest of them are given up.
PENDING = 50_000

# What follows on the first bracket of a line, which is that of its program: a daemon's number.
_SAID = re.compile(r"\d+\]: (?P<queue_id>[0-9A-Za-z]{4,32}): (?P<said>.*)", re.ASCII | re.DOTALL)
_DELIVERED = re.compile(r", status=(?:sent|deferred|bounced)\b")
#: The words of the longest beginning: month, day, year, time, machine, and the program.
_WORDS = 6
_PRINTABLE = re.compile(r"[!-~]+")
_COLUMN = re.compile(r"[,;\t]")
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
        line = octets.decode("utf-8", "replace").lstrip("\N{BYTE ORDER MARK}").strip()
        if not line:
            continue
        entry = log.read(line) if " " in line else _listed(line)
        if entry is not None:
            yield entry


def queue_ids(reply: str) -> list[str]:
    """Return the queue ids that a server's reply names."""
    return _NAMED.findall(reply)


def _listed(line: str) -> Entry:
    """Read one line of a list, or the first column of a table."""
    line = _COLUMN.split(line, maxsplit=1)[0].strip("\"'")
    if "@" in line:
        return Entry(_ours(line))
    return Entry(queue_id=line if _QUEUE_ID.fullmatch(line) else None)


def _ours(text: str) -> tuple[str, str] | None:
    return message_ids.parse(text) if _PRINTABLE.fullmatch(text) else None


class _Log:
    """Which queue ids are messages of ours that are not accepted yet, at one place of the log.

    Queue ids come again, so they are paired in the order of the log, and machine by machine.
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[tuple[str | None, str], tuple[str, str]] = OrderedDict()

    def read(self, line: str) -> Entry | None:
        """Take one line; return the message that it completes."""
        found = _parse(line)
        if found is None:
            return None
        host, daemon, queue_id, said = found
        key = (host, queue_id)
        if daemon == "cleanup":
            is_named = said.startswith("message-id=")
            return self._begin(key, said.removeprefix("message-id=")) if is_named else None
        if key not in self._pending:
            return None
        # Whose message it is from here on is said before its Message-ID is known.
        if said == "removed" or said.startswith(("client=", "uid=")):
            del self._pending[key]
        elif _is_accepted(daemon, said):
            return Entry(self._pending.pop(key), queue_id)
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


def _parse(line: str) -> tuple[str | None, str, str, str] | None:
    """Return machine, daemon and queue id of a line of Postfix's, and what it says.

    It begins with a time and a machine, or lacks them: `Nov 22 06:00:01 relay postfix/qmgr[22]: `.
    Whatever another program has logged is never taken for Postfix's.
    """
    head, _, tail = line.partition("[")
    found = _SAID.match(tail)
    if found is None:
        return None
    *before, program = head.split() or [""]
    name, _, daemon = program.rpartition("/")
    if not name or len(before) >= _WORDS or any(w.endswith(":") for w in before):
        return None
    # Without a machine there is the time, or nothing.
    host = before[-1] if before and ":" not in before[-1] else None
    return host, daemon, found["queue_id"], found["said"]


def _is_accepted(daemon: str, said: str) -> bool:
    if daemon in {"qmgr", "oqmgr", "nqmgr"}:
        return said.startswith("from=<") and said.endswith("(queue active)")
    return said.startswith("to=<") and _DELIVERED.search(said) is not None
