"""The answer to one DNS query: records, no records, or the reason of a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["A", "AAAA", "MX", "PTR", "TXT"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for one name and type: records, no records, or a failure."""

    #: Texts of TXT records, each with its strings joined; addresses; host names in lower case and
    #: without the last dot, those of MX records in their order, "" for the null MX (RFC 7505).
    records: tuple[str, ...] = ()
    #: False if the name does not exist (NXDOMAIN).
    exists: bool = True
    #: Why the query failed, as a clause such as "the name server answered SERVFAIL".
    failure: str = ""


class Lookup(Protocol):
    """Queries DNS. Never raises: a failure is also an Answer."""

    def __call__(self, name: str, kind: Kind, /) -> Answer:
        """Return the answer about a name, without a last dot."""
