"""Decides which item of a feed is which article: same GUID or same link, the same article.

Pure: what is stored comes in as values, what is to be done goes out as values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from newsletter.articles.item import ParsedArticle


@dataclass(frozen=True)
class Known:
    """A stored article, as far as recognising it needs."""

    id: int
    #: None: its feed was removed, or it was added by hand.
    feed_id: int | None
    guid: str | None
    link: str
    content_hash: str
    is_quarantined: bool = False


@dataclass(frozen=True)
class Group:
    """The items of one document that are one article; the first of them is shown."""

    position: int
    article: ParsedArticle
    guids: list[str]
    links: list[str]

    def names(self) -> list[tuple[str, str]]:
        """Return everything that it goes by."""
        return [("guid", one) for one in self.guids] + [("link", one) for one in self.links]

    def joined(self, other: Group) -> Group:
        """Return both as one; this one is shown."""
        return Group(
            self.position,
            self.article,
            list(dict.fromkeys(self.guids + other.guids)),
            list(dict.fromkeys(self.links + other.links)),
        )


@dataclass(frozen=True)
class Match:
    """What to do with an article that is known: any of these may be nothing."""

    known: Known
    #: What the row is to be called from now on, so that it is recognised by its newest names.
    guid: str | None
    link: str
    #: Belongs to this feed from now on: its own feed was removed.
    is_adopted: bool = False
    #: The content (or the link) changed, and the row takes it.
    is_edit: bool = False

    @property
    def is_renamed(self) -> bool:
        """Tell whether the row's identity changes."""
        return self.is_adopted or (self.guid, self.link) != (self.known.guid, self.known.link)


def group(articles: Iterable[ParsedArticle]) -> list[Group]:
    """Join the items that share a GUID or a link, directly or through others."""
    owners: dict[tuple[str, str], Group] = {}
    groups: dict[int, Group] = {}
    for position, article in enumerate(articles):
        joined = Group(position, article, [article.guid] if article.guid else [], [article.link])
        touched = {owners[name].position: owners[name] for name in joined.names() if name in owners}
        for _, other in sorted(touched.items(), reverse=True):
            joined = groups.pop(other.position).joined(joined)
        groups[joined.position] = joined
        owners.update(dict.fromkeys(joined.names(), joined))
    return [groups[position] for position in sorted(groups)]


def match(
    groups: Sequence[Group], stored: Iterable[Known], *, feed_id: int
) -> list[tuple[Group, Match | None]]:
    """Pair each group with the stored article that it is, or with None.

    The GUID goes before the link, and the names of the item that is shown before those of its
    doubles. A stored article takes the content of one group at most. It keeps a name that is still
    in the document, so whatever is known stays known; and it takes none that another row has, so
    the result never violates a unique index.
    """
    names = _Names(stored, feed_id, {name for one in groups for name in one.names()})
    taken: set[int] = set()
    pairs: list[tuple[Group, Match | None]] = []
    for one in groups:
        known = names.find(one)
        if known is None:
            pairs.append((one, None))
        elif known.id in taken:
            pairs.append((one, Match(known, known.guid, known.link)))
        else:
            pairs.append((one, names.meet(one.article, known)))
            taken.add(known.id)
    return pairs


class _Names:
    """Who goes by which name among the stored articles, and which names are in the document."""

    def __init__(
        self, stored: Iterable[Known], feed_id: int, present: set[tuple[str, str]]
    ) -> None:
        self._feed_id = feed_id
        self._present = present
        self._by_guid: dict[str, Known] = {}
        self._by_link: dict[str, Known] = {}
        for known in sorted(stored, key=lambda one: one.id):
            self._by_link.setdefault(known.link, known)
            if known.feed_id == feed_id and known.guid is not None:
                self._by_guid.setdefault(known.guid, known)

    def find(self, one: Group) -> Known | None:
        found = [self._by_guid.get(guid) for guid in one.guids]
        found += [self._by_link.get(address) for address in one.links]
        return next((known for known in found if known), None)

    def meet(self, article: ParsedArticle, known: Known) -> Match:
        """Decide what a known article takes from the item that it was found in."""
        is_adopted = known.feed_id is None and known.guid is not None
        if known.feed_id != self._feed_id and not is_adopted:
            # Another feed's article, or one added by hand, is not this feed's to change.
            return Match(known, known.guid, known.link)
        # An adopted row's own GUID may be another row's in this feed, so it is not kept.
        guid = None if is_adopted else known.guid
        if article.guid is not None and self._is_replaced(
            "guid", guid, self._by_guid, article.guid
        ):
            guid = article.guid
        is_moved = self._is_replaced("link", known.link, self._by_link, article.link)
        link = article.link if is_moved else known.link
        is_edit = link != known.link or article.content_hash != known.content_hash
        return Match(
            known,
            guid,
            link,
            is_adopted=is_adopted,
            is_edit=is_edit and not known.is_quarantined,
        )

    def _is_replaced(self, kind: str, old: str | None, owners: dict[str, Known], new: str) -> bool:
        return new not in owners and (old is None or (kind, old) not in self._present)
