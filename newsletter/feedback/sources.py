"""The interface of all mailboxes: mails come in batches, and each batch is settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from newsletter.feedback.mime import MAXIMUM_OCTETS

#: Maximum number of mails, and of their octets, in one batch.
BATCH = 200
BATCH_OCTETS = 20_000_000

Handle = TypeVar("Handle")


class Mail(NamedTuple):
    """A mail in a mailbox, cut after MAXIMUM_OCTETS."""

    #: Identifies the mail in its source while the source is open.
    handle: str
    octets: bytes


class Source(Protocol):
    """An open mailbox."""

    #: The number of unread mails at the start; None until it is known.
    waiting: int | None

    def batches(self) -> Iterator[list[Mail]]:
        """Yield batches of the mails that have not been read before.

        A batch may be empty, so that a long search can be stopped. `settle` must be called for each
        batch before the next one, even if it fails. Raises TransportUnavailable, ConfigurationError
        and InvalidInput, which name the mailbox.
        """

    def settle(self, *, understood: Sequence[str], left: Sequence[str]) -> None:
        """Move or delete understood mails, and mark the others so that they are not read again.

        To be called after the effects are committed: a mail that could not be settled is read
        again. Raises the same errors as `batches`.
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
