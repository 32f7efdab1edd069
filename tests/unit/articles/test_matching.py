"""Matching items with stored articles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.articles import matching
from newsletter.articles.item import ParsedArticle
from newsletter.articles.known import Known
from newsletter.articles.matching import Match

FEED = 7
_unhurried = settings(deadline=None)


def article(guid: str | None, link: str, title: str = "T") -> ParsedArticle:
    return ParsedArticle(
        guid=guid,
        link=link,
        title=title,
        standfirst="",
        image=None,
        author=None,
        source=None,
        categories=(),
        minutes=1,
        published_at=None,
    )


def known(number: int, guid: str | None, link: str, title: str = "T", **changes: Any) -> Known:
    content_hash = article(guid, link, title).content_hash
    values: dict[str, Any] = {"feed_id": FEED, "content_hash": content_hash} | changes
    return Known(number, guid=guid, link=link, title=title, **values)


def match(items: list[ParsedArticle], *stored: Known, site: str = "site") -> list[Match | None]:
    groups = matching.group(items)
    return [found for _, found in matching.match(groups, stored, feed_id=FEED, common={site})]


def match_one(one: ParsedArticle, *stored: Known) -> Match | None:
    [found] = match([one], *stored)
    return found


def ids(found: list[Match | None]) -> list[int | None]:
    return [one.known.id if one else None for one in found]


@pytest.mark.parametrize(
    ("items", "count"),
    [
        ([article("a", "1", "A"), article("b", "1", "B")], 2),
        ([article("a", "1", "A"), article("b", "1", "A")], 1),
        ([article("a", "1", "A"), article("a", "1", "B")], 1),
        ([article("a", "1", "A"), article("a", "2", "A")], 1),
        ([article("a", "1", "A"), article("b", "2", "A")], 2),
        ([article(None, "1", "A"), article(None, "1", "B")], 2),
        ([article(None, "1", "A"), article("a", "1", "A")], 1),
        ([article("a", "1#x", "A"), article("b", "1#y", "A")], 1),
        ([article("a", "1#x", "A"), article("b", "1#y", "B")], 2),
    ],
)
def test_items_are_one_article_when_two_of_guid_page_and_title_agree(
    items: list[ParsedArticle], count: int
) -> None:
    assert len(matching.group(items)) == count


def test_a_guid_that_all_items_share_is_ignored() -> None:
    groups = matching.group([article("0", str(n), f"T{n}") for n in range(3)])

    assert [(one.article.guid, one.article.link) for one in groups] == [
        (None, "0"), (None, "1"), (None, "2"),
    ]  # fmt: skip


def test_an_item_that_ties_two_articles_makes_them_one_and_the_first_is_shown() -> None:
    [one] = matching.group(
        [
            article("a", "1", "A"),
            article("b", "2", "B"),
            article("a", "2", "A"),
            article("a", "2", "B"),
        ]
    )

    assert one.article.title == "A"
    assert (one.guids, one.links) == ({"a", "b"}, {"1", "2"})


def test_an_unknown_item_matches_nothing() -> None:
    assert match_one(article("a", "1"), known(1, "b", "2")) is None


def test_the_same_guid_is_the_same_article_and_a_new_link_is_an_edit() -> None:
    found = match_one(article("a", "2"), known(1, "a", "1"))

    assert found == Match(known(1, "a", "1"), "a", "2", is_edit=True)


def test_the_same_link_and_title_is_the_same_article_and_takes_the_new_guid() -> None:
    found = match_one(article("b", "1"), known(1, "a", "1"))

    assert found is not None
    assert (found.guid, found.is_renamed, found.is_edit) == ("b", True, False)


def test_another_guid_and_title_under_the_same_link_is_another_article() -> None:
    assert match_one(article("b", "1", "B"), known(1, "a", "1", "A")) is None


def test_guids_that_change_under_one_link_find_their_articles_by_title() -> None:
    stored = [known(n, f"old-{n}", "1", f"T{n}") for n in range(3)]

    found = match([article(f"new-{n}", "1", f"T{n}") for n in (2, 0, 3)], *stored)

    assert ids(found) == [2, 0, None]


def test_an_article_whose_guid_is_in_the_document_is_not_taken_by_its_title() -> None:
    found = match(
        [article("new", "1", "A"), article("a", "1", "A, edited")], known(1, "a", "1", "A")
    )

    assert ids(found) == [None, 1]


def test_without_guids_a_new_title_is_an_edit_unless_the_link_is_shared() -> None:
    stored = known(1, None, "1", "A")

    assert ids(match([article(None, "1", "B")], stored)) == [1]
    assert ids(match([article(None, "1", "B"), article(None, "1", "C")], stored)) == [None, None]
    assert ids(match([article(None, "1", "C")], stored, known(2, None, "1", "B"))) == [None]
    assert ids(match([article(None, "1", "B")], stored, site="1")) == [None]


def test_a_guid_of_another_feed_is_ignored() -> None:
    assert match_one(article("a", "2"), known(1, "a", "1", feed_id=8)) is None


def test_another_feeds_article_is_known_and_left_alone_and_its_name_here_is_kept() -> None:
    found = match_one(article("a", "1", "Other title"), known(1, "b", "1", feed_id=8))

    assert found is not None
    assert (found.is_alias, found.is_edit, found.guid) == (True, False, "a")


@pytest.mark.parametrize(
    ("items", "stored", "site"),
    [
        ([article("a", "1", "A"), article("b", "1", "B")], [known(1, "x", "1", feed_id=8)], ""),
        ([article("a", "1", "A")], [known(n, f"{n}", "1", f"{n}", feed_id=8) for n in (1, 2)], ""),
        ([article("b", "1", "B")], [known(1, "x", "1", feed_id=8), known(2, "a", "1", "A")], ""),
        (
            [article("b", "1", "B")],
            [
                known(1, "x", "1", feed_id=8),
                known(1, "a", "1", "A", is_alias=True),
            ],
            "",
        ),
        (
            [article("b", "1", "B")],
            [
                known(1, "x", "1", feed_id=8),
                known(1, "y", "1", "Y", feed_id=9, is_alias=True),
                known(2, "z", "1", "Z", feed_id=9),
            ],
            "",
        ),
        ([article("a", "1", "A")], [known(1, "x", "1", feed_id=8)], "1"),
    ],
    ids=["here now", "in the other feed", "here before", "here before, by alias", "in a third feed",
         "the feed's own site"],
)  # fmt: skip
def test_a_link_that_items_of_one_feed_share_joins_none_of_another(
    items: list[ParsedArticle], stored: list[Known], site: str
) -> None:
    assert set(ids(match(items, *stored, site=site))) == {None}


def test_the_same_link_and_title_in_two_feeds_is_one_even_if_the_link_is_shared() -> None:
    stored = [known(n, f"x{n}", "1", f"T{n}", feed_id=8) for n in range(3)]

    assert ids(match([article(f"{n}", "1", f"T{n}") for n in (2, 1)], *stored)) == [2, 1]


def test_an_alias_is_known_by_its_guid_and_takes_the_newest_names() -> None:
    found = match_one(article("a", "2", "B"), known(1, "a", "1", "A", is_alias=True))

    assert found is not None
    assert (found.is_alias, found.is_edit, found.link) == (True, False, "2")


def test_an_article_whose_feed_was_removed_is_adopted() -> None:
    found = match_one(article("a", "1"), known(1, "b", "1", feed_id=None))

    assert found is not None
    assert (found.is_adopted, found.guid) == (True, "a")


def test_episodes_whose_feed_was_removed_are_adopted_one_by_one() -> None:
    stored = [known(n, f"ep-{n}", "1", f"T{n}", feed_id=None) for n in range(3)]
    items = [
        article("ep-2", "1", "T2, edited"),
        article("new-1", "1", "T1"),
        article("ep-3", "1", "N"),
    ]

    assert ids(match(items, *stored)) == [2, 1, None]


def test_an_article_added_by_hand_stays_as_it_was_written() -> None:
    found = match_one(article("a", "1", "Other"), known(1, None, "1", feed_id=None))

    assert found is not None
    assert (found.is_edit, found.is_adopted, found.is_alias) == (False, False, True)


def test_changed_content_is_an_edit() -> None:
    found = match_one(article("a", "1", "Better title"), known(1, "a", "1"))

    assert found is not None
    assert found.is_edit


def test_a_guid_that_goes_missing_is_not_forgotten() -> None:
    found = match_one(article(None, "1"), known(1, "a", "1"))

    assert found is not None
    assert (found.guid, found.is_renamed) == ("a", False)


def test_duplicates_do_not_alternate_the_name_of_their_article() -> None:
    doubles = [article("b", "2"), article("a", "2"), article("a", "1")]

    [found] = match(doubles, known(1, "a", "1"))

    assert found is not None
    assert not found.is_renamed


@pytest.mark.parametrize(
    ("items", "stored", "links"),
    [
        ([article("a", "p#x", "A")], [], ["p"]),
        ([article("a", "p#!/a", "A")], [], ["p#!/a"]),
        ([article("a", "p#x", "A"), article("b", "p#y", "B")], [], ["p#x", "p#y"]),
        ([article("a", "p#x", "A"), article("b", "q#y", "B")], [], ["p", "q"]),
        ([article("b", "p#y", "B")], [known(1, "a", "p", "A")], ["p#y"]),
        ([article("b", "p#y", "B")], [known(1, "b", "p", "B")], ["p"]),
        ([article("b", "p#y", "A")], [known(1, "a", "p#x", "A")], ["p"]),
        ([article("b", "p#y", "B")], [known(1, "a", "p", "A", feed_id=8)], ["p"]),
    ],
)
def test_links_keep_their_fragments_if_those_distinguish_articles(
    items: list[ParsedArticle], stored: list[Known], links: list[str]
) -> None:
    pairs = matching.match(matching.group(items), stored, feed_id=FEED)

    assert [one.article.link for one, _ in pairs] == links


_names = st.sampled_from("abcde")
_links = st.sampled_from(["a", "b", "b#x", "b#y", "c"])
_titles = st.sampled_from(["T", "U", "V"])
_items = st.lists(st.builds(article, st.none() | _names, _links, _titles), max_size=8)
_stored = st.lists(
    st.tuples(st.none() | _names, _links, _titles, st.sampled_from([FEED, 8, None])),
    max_size=6,
    unique_by=lambda row: (row[3], row[0]) if row[3] and row[0] else object(),
)


@_unhurried
@given(_items, _stored)
def test_no_decision_gives_a_guid_out_twice_or_an_article_to_two_groups(
    items: list[ParsedArticle], stored: list[tuple[str | None, str, str, int | None]]
) -> None:
    rows = [
        known(number, guid, link, title, feed_id=feed)
        for number, (guid, link, title, feed) in enumerate(stored)
    ]
    guids = {one.id: (one.feed_id, one.guid) for one in rows}
    pairs = matching.match(matching.group(items), rows, feed_id=FEED)

    for step, (one, found) in enumerate(pairs):
        if found is None:
            guids[100 + step] = (FEED, one.article.guid)
        elif not found.is_alias:
            guids[found.known.id] = (FEED, found.guid)
        # After every single statement, not only in the end: indexes do not wait.
        named = [pair for pair in guids.values() if None not in pair]
        assert len(set(named)) == len(named)
    matched = [found.known.id for _, found in pairs if found]
    assert len(set(matched)) == len(matched)


@_unhurried
@given(_items)
def test_groups_share_no_guid_and_lose_no_link(items: list[ParsedArticle]) -> None:
    groups = matching.group(items)

    guids = [guid for one in groups for guid in one.guids]
    assert len(set(guids)) == len(guids)
    assert {link for one in groups for link in one.links} == {one.link for one in items}


@_unhurried
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from(["p", "p#x", "p#y", "q", "site"])),
            max_size=6,
            unique_by=lambda one: one[0],
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_no_history_of_distinct_guids_and_titles_loses_an_item_or_makes_two_of_one(
    documents: list[list[tuple[int, str]]], is_churned: bool
) -> None:
    """With churn every GUID is new in each document, and link and title stay as they were."""
    rows: dict[int, Known] = {}
    met: dict[int, set[int]] = {}
    first_link: dict[int, str] = {}

    for step, appearances in enumerate(documents):
        items = []
        for number, link in appearances:
            address = first_link.setdefault(number, link) if is_churned else link
            guid = f"{step}.{number}" if is_churned else f"{number}"
            items.append(article(guid, address, f"Title {number}"))
        pairs = matching.match(matching.group(items), rows.values(), feed_id=FEED, common={"site"})
        assert len(pairs) == len(items)
        for one, found in pairs:
            key = found.known.id if found else len(rows)
            row = known(key, one.article.guid, one.article.link, one.article.title)
            rows[key] = replace(row, guid=found.guid, link=found.link) if found else row
            met.setdefault(int(one.article.title.split()[1]), set()).add(key)

    assert all(len(keys) == 1 for keys in met.values())
    assert len(rows) == len(met)
