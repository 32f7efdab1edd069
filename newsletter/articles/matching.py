"""Decides to which stored article each item of a feed corresponds, if any.

Items of one feed that differ in GUID and in title are different articles, whatever their links:
merging two articles loses one, which is worse than sending one twice. The same link and title with
a new GUID is the same article, and so is the same GUID with a new title. Across feeds GUIDs are not
comparable: the same link is the same article, unless several items of one feed share it.

Pure functions: values in, values out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from newsletter.articles import link as links
from newsletter.articles.known import Known

if TYPE_CHECKING:
    from newsletter.articles.item import ParsedArticle


@dataclass(frozen=True)
class Group:
    """The items of one document that are the same article; the first one has its content."""

    article: ParsedArticle
    guids: frozenset[str]
    links: frozenset[str]
    #: `link.place` and title of each item, which stay the same when a site moves to https.
    stories: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Match:
    """A stored article that an item matches, and what to update."""

    known: Known
    #: The names to store, so that the article is recognised by its newest ones.
    guid: str | None
    link: str
    #: The article belongs to this feed from now on, because its own feed was removed.
    is_adopted: bool = False
    #: The content or the link has changed and is to be stored.
    is_edit: bool = False
    #: The article stays unchanged; the names are stored as an alias for this feed.
    is_alias: bool = False

    @property
    def is_renamed(self) -> bool:
        """Whether feed, GUID or link of the row change."""
        return self.is_adopted or (self.guid, self.link) != (self.known.guid, self.known.link)


def group(articles: Iterable[ParsedArticle]) -> list[Group]:
    """Group the items of a document that agree in two of GUID, page and title.

    A GUID that several groups share identifies none, and is dropped from all of them.
    """
    items = list(articles)
    members: dict[int, list[ParsedArticle]] = defaultdict(list)
    for item, first in zip(items, _first_of_each(items), strict=True):
        members[first].append(item)
    bearers = Counter(
        guid for several in members.values() for guid in {one.guid for one in several}
    )
    return [_group(several, bearers) for several in members.values()]


def match(
    groups: Sequence[Group],
    stored: Iterable[Known],
    *,
    feed_id: int,
    common: Collection[str | None] = (),
) -> list[tuple[Group, Match | None]]:
    """Pair each group with the stored article that it matches, or with None.

    `common` are links that identify no article, such as that of the feed's site. A stored article
    matches one group at most, and no (feed, GUID) is used twice, so the result never violates the
    unique index. The groups are returned with the links to store.
    """
    names = _Names(stored, feed_id)
    crowds = Counter(place for one in groups for place in {place for place, _ in one.stories})
    groups = [names.addressed(one, crowds) for one in groups]
    names.share(groups, common)
    found: dict[int, Known] = {}
    taken: set[int] = set()
    # Each rule is tried for all groups before the next rule, so that a match by GUID has precedence
    # over all weaker ones.
    for rule in (names.by_guid, names.by_story, names.by_link, names.elsewhere):
        for position, one in enumerate(groups):
            if position not in found:
                known = next((known for known in rule(one) if known.id not in taken), None)
                if known:
                    found[position] = known
                    taken.add(known.id)
    return [
        (one, names.meet(one, found[position]) if position in found else None)
        for position, one in enumerate(groups)
    ]


class _Names:
    """Indexes of stored articles by GUID, link and title, in this feed and in others."""

    def __init__(self, stored: Iterable[Known], feed_id: int) -> None:
        self._feed_id = feed_id
        self._by_guid: dict[str, list[Known]] = defaultdict(list)
        self._by_story: dict[tuple[str, str], list[Known]] = defaultdict(list)
        self._by_page: dict[str, list[Known]] = defaultdict(list)
        self._by_link: dict[str, list[Known]] = defaultdict(list)
        #: Other feeds' articles by link, and by place and title.
        self._elsewhere: dict[str | tuple[str, str], list[Known]] = defaultdict(list)
        self._orphans: dict[str, list[Known]] = defaultdict(list)
        #: Links that do not identify an article.
        self._shared: set[str | None] = set()
        bearers: dict[tuple[int | None, str], set[int]] = defaultdict(set)
        for known in sorted(stored, key=lambda one: one.id):
            bearers[known.feed_id, known.link].add(known.id)
            if known.feed_id == feed_id:
                self._add(known)
            elif not known.is_alias:
                self._add_elsewhere(known)
        self._shared |= {address for (_, address), ids in bearers.items() if len(ids) > 1}

    def _add(self, known: Known) -> None:
        if known.guid is not None:
            self._by_guid[known.guid].append(known)
        page = links.page(known.link)
        self._by_story[links.place(known.link), known.title].append(known)
        self._by_page[page].append(known)
        self._by_link[known.link].append(known)

    def _add_elsewhere(self, known: Known) -> None:
        self._elsewhere[known.link].append(known)
        self._elsewhere[links.place(known.link), known.title].append(known)
        if known.is_orphan and known.guid is not None:
            self._orphans[known.guid].append(known)

    def addressed(self, one: Group, crowds: Counter[str]) -> Group:
        """Return a group whose links keep their fragments only where they distinguish articles."""

        def address(link: str) -> str:
            page = links.page(link)
            others = (known for known in self._by_page.get(page, ()) if _are_two(one, known))
            is_kept = crowds[links.place(link)] > 1 or links.is_route(link) or any(others)
            return link if is_kept else page

        if not any("#" in link for link in one.links):
            return one
        article = replace(one.article, link=address(one.article.link))
        return replace(one, article=article, links=frozenset(map(address, one.links)))

    def share(self, groups: Sequence[Group], common: Collection[str | None]) -> None:
        """Record the links that several articles of a document share, and `common` ones."""
        once = Counter(address for one in groups for address in one.links)
        self._shared |= {address for address, count in once.items() if count > 1} | set(common)

    def by_guid(self, one: Group) -> Iterator[Known]:
        """Yield this feed's articles with the same GUID."""
        for guid in sorted(one.guids):
            yield from self._by_guid.get(guid, ())

    def by_story(self, one: Group) -> Iterator[Known]:
        """Yield this feed's articles with the same place and title, whose GUIDs have changed."""
        for story in sorted(one.stories):
            yield from self._by_story.get(story, ())

    def by_link(self, one: Group) -> Iterator[Known]:
        """Yield this feed's articles with the same link, if neither side has a GUID."""
        for address in sorted(one.links - self._shared if not one.guids else ()):
            yield from (known for known in self._by_link.get(address, ()) if known.guid is None)

    def elsewhere(self, one: Group) -> Iterator[Known]:
        """Yield articles of other feeds, or of none, with the same link; the best match first."""
        namesakes = (self._elsewhere.get(story, ()) for story in sorted(one.stories))
        orphans = (self._orphans.get(guid, ()) for guid in sorted(one.guids))
        anchors = {_anchor(address) for address in one.links}
        for known in chain.from_iterable(chain(namesakes, orphans)):
            if _anchor(known.link) in anchors:
                yield known
        for address in sorted(one.links):
            if address not in self._shared and address not in self._by_link:
                yield from self._elsewhere.get(address, ())

    def meet(self, one: Group, known: Known) -> Match:
        """Return what to update of a stored article from the group that it matches."""
        article = one.article
        is_adopted = known.is_orphan
        # A GUID or link still in the document is kept: each fetch would otherwise
        # replace it by that of a duplicate item, and back again.
        guid = known.guid if known.guid in one.guids and not is_adopted else article.guid
        link = known.link if known.link in one.links else article.link
        if known.is_alias or (known.feed_id != self._feed_id and not is_adopted):
            # Only an article's own feed changes it; articles added by hand stay unchanged.
            return Match(known, guid, link, is_alias=True)
        is_edit = link != known.link or article.content_hash != known.content_hash
        return Match(
            known,
            # A stored GUID is kept if the item no longer has one.
            guid if guid is not None or is_adopted else known.guid,
            link,
            is_adopted=is_adopted,
            is_edit=is_edit,
        )


def _anchor(address: str) -> tuple[str, str]:
    """Return a link's place and fragment."""
    return links.place(address), address.partition("#")[2]


def _are_two(one: Group, known: Known) -> bool:
    """Return whether a group and a stored article of the same page differ in GUID and title."""
    story = links.place(known.link), known.title
    return known.guid not in one.guids and story not in one.stories


def _first_of_each(items: Sequence[ParsedArticle]) -> list[int]:
    """Return for each item the position of the first one of its group (union-find)."""
    roots = list(range(len(items)))

    def root(at: int) -> int:
        while roots[at] != at:
            roots[at] = at = roots[roots[at]]
        return at

    owners: dict[tuple[str, str | None, str | None], int] = {}
    for position, item in enumerate(items):
        for name in _names(item):
            first, second = sorted((root(owners.setdefault(name, position)), root(position)))
            roots[second] = first
    return [root(position) for position in range(len(items))]


def _names(item: ParsedArticle) -> Iterator[tuple[str, str | None, str | None]]:
    page = links.page(item.link)
    yield "story", links.place(item.link), item.title
    if item.guid is not None:
        yield "page", item.guid, page
        yield "title", item.guid, item.title


def _group(several: Sequence[ParsedArticle], bearers: Counter[str | None]) -> Group:
    guids = list(dict.fromkeys(one.guid for one in several if one.guid and bearers[one.guid] == 1))
    return Group(
        replace(several[0], guid=guids[0] if guids else None),
        frozenset(guids),
        frozenset(one.link for one in several),
        frozenset((links.place(one.link), one.title) for one in several),
    )
