"""Parses what a relay accepted: a Postfix log, or a list of Message-IDs or queue ids.

Pure: lines in, entries out, in bounded memory. Lines that are not Postfix lines about a message are
ignored.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from newsletter.ledger import message_ids

#: Maximum number of messages that have a Message-ID but no acceptance yet. Postfix logs the
#: acceptance moments later; entries that stay are of broken connections, and the oldest are
#: dropped.
PENDING = 50_000

# The rest of a line from the process id of the daemon, which is in the first brackets.
_LOGGED = re.compile(r"\d+\]: (?P<queue_id>[0-9A-Za-z]{4,32}): (?P<rest>.*)", re.ASCII | re.DOTALL)
_DELIVERED = re.compile(r", status=(?:sent|deferred|bounced)\b")
#: Maximum number of words before the bracket: month, day, year, time, host and program.
_WORDS = 6
_PRINTABLE = re.compile(r"[!-~]+")
_COLUMN = re.compile(r"[,;\t]")
_QUEUE_ID = re.compile(r"[0-9A-Za-z-]{4,32}")
#: The queue id in the reply to an accepted message, as Postfix and Exim write it.
_NAMED = re.compile(r"(?:\bqueued as |\bid=)([0-9A-Za-z-]{4,32})", re.IGNORECASE)


class Entry(NamedTuple):
    """One line of a list, or one message of a log; without any id it is not one of ours."""

    #: Mailing and reference, from a Message-ID that `message_ids` built.
    message_id: tuple[str, str] | None = None
    #: The relay's queue id; in a log together with the Message-ID, in a list without it.
    queue_id: str | None = None


def read(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield an entry for each line of a list, and for each message that a log shows as accepted.

    A message of ours counts as accepted only if a later line shows its queue id as active,
    delivered or tried: Postfix logs the Message-ID even if the connection breaks before the final
    dot. Messages of other senders yield an empty entry, so that they can be counted.
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
    """Return the queue ids in a server's reply."""
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
    """The queue ids of our messages that are not accepted yet at this place of the log.

    Queue ids are reused, so they are matched in the order of the log and per host.
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[tuple[str | None, str], tuple[str, str]] = OrderedDict()

    def read(self, line: str) -> Entry | None:
        """Process one line; return the message that it shows to be accepted, if any."""
        found = _parse(line)
        if found is None:
            return None
        host, daemon, queue_id, rest = found
        key = (host, queue_id)
        if daemon == "cleanup":
            is_named = rest.startswith("message-id=")
            return self._begin(key, rest.removeprefix("message-id=")) if is_named else None
        if key not in self._pending:
            return None
        # The queue id is free now, or is reused for a new message, whose Message-ID follows.
        if rest == "removed" or rest.startswith(("client=", "uid=")):
            del self._pending[key]
        elif _is_accepted(daemon, rest):
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
    """Return host, daemon, queue id and the rest of a Postfix line; None for any other line.

    A line may begin with a time and a host: `Nov 22 06:00:01 relay postfix/qmgr[22]: `. Text that
    another program logged, and that a stranger can choose, never parses as a Postfix line.
    """
    head, _, tail = line.partition("[")
    found = _LOGGED.match(tail)
    if found is None:
        return None
    *before, program = head.split() or [""]
    name, _, daemon = program.rpartition("/")
    if not name or len(before) >= _WORDS or any(w.endswith(":") for w in before):
        return None
    # Without a host, the last word is the time, or there is none.
    host = before[-1] if before and ":" not in before[-1] else None
    return host, daemon, found["queue_id"], found["rest"]


def _is_accepted(daemon: str, rest: str) -> bool:
    if daemon in {"qmgr", "oqmgr", "nqmgr"}:
        return rest.startswith("from=<") and rest.endswith("(queue active)")
    return rest.startswith("to=<") and _DELIVERED.search(rest) is not None
