"""A stored article, as far as a new item is compared with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A stored article, or a feed's own names for another feed's, as far as recognising needs."""

    #: The article's, in both cases.
    id: int
    #: None: its feed was removed, or it was added by hand.
    feed_id: int | None
    guid: str | None
    link: str
    title: str
    content_hash: str
    #: These are the names that `feed_id` has for an article which is not its own.
    is_alias: bool = False

    @property
    def is_orphan(self) -> bool:
        """Tell whether its feed was removed."""
        return self.feed_id is None and self.guid is not None
