"""The part of a stored article that matching compares with new items."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A stored article, or an alias: a feed's names for an article of another feed."""

    #: The id of the article, also for an alias.
    id: int
    #: None if the feed was removed, or the article was added by hand.
    feed_id: int | None
    guid: str | None
    link: str
    title: str
    content_hash: str
    #: Whether GUID, link and title are those that `feed_id` has for an article of another feed.
    is_alias: bool = False

    @property
    def is_orphan(self) -> bool:
        """Whether the feed of the article was removed."""
        return self.feed_id is None and self.guid is not None
