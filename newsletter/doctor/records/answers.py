"""The answer to one DNS query: records, none, or why nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["A", "AAAA", "MX", "PTR", "TXT"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS says about one name and type; records, none, and "cannot tell" are kept apart."""

    #: Texts of TXT records, each with its strings joined; addresses; host names in lower case and
    #: without the last dot, those of MX records in their order, "" for the null MX (RFC 7505).
    records: tuple[str, ...] = ()
    #: False if the name does not exist (NXDOMAIN).
    exists: bool = True
    #: Why it is not known: the end of a sentence such as "the name server answered SERVFAIL".
    failure: str = ""


class Lookup(Protocol):
    """Asks DNS. It never raises: what cannot be looked up is an answer, too."""

    def __call__(self, name: str, kind: Kind, /) -> Answer:
        """Return the answer about a name, without a last dot."""
