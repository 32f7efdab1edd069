"""What every mailbox is read by, wherever it is: mails in batches, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from newsletter.feedback.mime import MAXIMUM_OCTETS

#: A batch of mails that are applied in one transaction has at most so many mails and octets.
BATCH = 200
BATCH_OCTETS = 20_000_000

Handle = TypeVar("Handle")


class Mail(NamedTuple):
    """A mail in a mailbox, and the beginning of it, up to MAXIMUM_OCTETS."""

    #: Names it to its source, as long as that is open.
    handle: str
    octets: bytes


class Source(Protocol):
    """An open mailbox."""

    #: Mails that wait in it; None before they are known.
    waiting: int | None

    def batches(self) -> Iterator[list[Mail]]:
        """Yield the mails that have not been read before.

        A batch may be empty, so that a long search can be stopped. Each must be settled before the
        next, even if that fails. Raises TransportUnavailable, ConfigurationError and InvalidInput,
        which name the mailbox.
        """

    def settle(self, *, understood: Sequence[str], left: Sequence[str]) -> None:
        """Move or delete mails that were understood, and read the others never again.

        To be called after their effects are committed: a mail that could not be settled is read
        again. Raises as `batches` does.
        """


def grouped(sized: Iterable[tuple[Handle, int]]) -> Iterator[list[Handle]]:
    """Divide mails, given with their sizes in octets, into batches."""
    batch: list[Handle] = []
    octets = 0
    for handle, size in sized:
        fetched = min(size, MAXIMUM_OCTETS)
        if batch and (len(batch) == BATCH or octets + fetched > BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append(handle)
        octets += fetched
    if batch:
        yield batch
