"""Which item is which article."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from newsletter.articles import matching
from newsletter.articles.item import ParsedArticle
from newsletter.articles.matching import Group, Known, Match

FEED = 7


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


HASH = article(None, "x").content_hash


def known(number: int, guid: str | None, link: str, **changes: Any) -> Known:
    values: dict[str, Any] = {"feed_id": FEED, "content_hash": HASH} | changes
    return Known(number, guid=guid, link=link, **values)


def match_one(one: ParsedArticle, *stored: Known) -> Match | None:
    [(_, found)] = matching.match(matching.group([one]), stored, feed_id=FEED)
    return found


def test_items_that_share_a_name_are_one_article_and_the_first_is_shown() -> None:
    groups = matching.group(
        [
            article("a", "1"),
            article("b", "2"),
            article("a", "3"),
            article("c", "2"),
            article(None, "3"),
        ]
    )

    assert [(one.guids, one.links) for one in groups] == [(["a"], ["1", "3"]), (["b", "c"], ["2"])]
    assert [one.article.link for one in groups] == ["1", "2"]


def test_an_item_that_ties_two_articles_makes_them_one() -> None:
    [one] = matching.group(
        [
            article("a", "1"),
            article("b", "2"),
            article("c", "3"),
            article("b", "1"),
            article("a", "3"),
        ]
    )

    assert one.article.link == "1"
    assert sorted(one.guids) == ["a", "b", "c"]
    assert sorted(one.links) == ["1", "2", "3"]


def test_what_nobody_knows_is_matched_with_nothing() -> None:
    assert match_one(article("a", "1"), known(1, "b", "2")) is None


def test_the_same_guid_is_the_same_article_and_a_new_link_is_an_edit() -> None:
    found = match_one(article("a", "2"), known(1, "a", "1"))

    assert found == Match(known(1, "a", "1"), "a", "2", is_edit=True)


def test_the_same_link_is_the_same_article_and_takes_the_new_guid() -> None:
    found = match_one(article("b", "1"), known(1, "a", "1"))

    assert found is not None
    assert (found.guid, found.is_renamed, found.is_edit) == ("b", True, False)


def test_another_feeds_guid_means_nothing() -> None:
    assert match_one(article("a", "2"), known(1, "a", "1", feed_id=8)) is None


def test_another_feeds_article_is_known_and_left_alone() -> None:
    found = match_one(article("a", "1", "Other title"), known(1, "b", "1", feed_id=8))

    assert found is not None
    assert not (found.is_edit)
    assert not (found.is_renamed)


def test_an_article_whose_feed_was_removed_is_adopted() -> None:
    found = match_one(article("a", "1"), known(1, "b", "1", feed_id=None))

    assert found is not None
    assert (found.is_adopted, found.guid) == (True, "a")


def test_an_article_added_by_hand_stays_as_it_was_written() -> None:
    found = match_one(article("a", "1", "Other"), known(1, None, "1", feed_id=None))

    assert found is not None
    assert not (found.is_edit)
    assert not (found.is_renamed)


def test_changed_content_is_an_edit() -> None:
    found = match_one(article("a", "1", "Better title"), known(1, "a", "1"))

    assert found is not None
    assert found.is_edit


def test_what_waits_is_not_edited_but_keeps_up_with_its_names() -> None:
    found = match_one(article("b", "1", "Better"), known(1, "a", "1", is_quarantined=True))

    assert found is not None
    assert (found.is_edit, found.guid) == (False, "b")


def test_if_guid_and_link_name_two_articles_the_guid_counts_and_no_name_is_taken_away() -> None:
    first, second = known(1, "a", "1"), known(2, "b", "2")

    found = match_one(article("b", "1"), first, second)

    assert found is not None
    assert (found.known.id, found.guid, found.link) == (2, "b", "2")


def test_two_items_never_change_the_same_article_nor_forget_a_name_of_it() -> None:
    groups = matching.group([article("a", "2", "Edited"), article("b", "1")])

    (_, first), (_, second) = matching.match(groups, [known(1, "a", "1")], feed_id=FEED)

    assert first == Match(known(1, "a", "1"), "a", "1", is_edit=True)
    assert second == Match(known(1, "a", "1"), "a", "1")


_names = st.sampled_from("abcde")
_items = st.lists(st.builds(article, st.none() | _names, _names), max_size=8)
_stored = st.lists(
    st.tuples(st.none() | _names, _names, st.sampled_from([FEED, 8, None]), st.booleans()),
    max_size=5,
    unique_by=(lambda row: row[1], lambda row: (row[2], row[0]) if row[2] and row[0] else object()),
)


def _rows(stored: list[tuple[str | None, str, int | None, bool]]) -> list[Known]:
    return [
        known(number, guid, link, feed_id=feed, is_quarantined=waits)
        for number, (guid, link, feed, waits) in enumerate(stored)
    ]


@given(_items, _stored)
def test_no_decision_violates_a_unique_name(
    items: list[ParsedArticle], stored: list[tuple[str | None, str, int | None, bool]]
) -> None:
    rows = _rows(stored)
    links = {one.id: one.link for one in rows}
    guids = {one.id: (one.feed_id, one.guid) for one in rows}

    for step, (one, found) in enumerate(matching.match(matching.group(items), rows, feed_id=FEED)):
        number = found.known.id if found else 100 + step
        links[number] = found.link if found else one.article.link
        if found:
            feed_id = FEED if found.is_adopted else found.known.feed_id
            guids[number] = (feed_id, found.guid)
        else:
            guids[number] = (FEED, one.article.guid)
        # After every single statement, not only in the end: indexes do not wait.
        named = [pair for pair in guids.values() if None not in pair]
        assert len(set(links.values())) == len(links)
        assert len(set(named)) == len(named)


@given(_items)
def test_groups_share_no_name_and_lose_none(items: list[ParsedArticle]) -> None:
    groups = matching.group(items)

    def names(one: Group) -> set[tuple[str, str]]:
        return set(one.names())

    for position, one in enumerate(groups):
        assert not any(names(one) & names(other) for other in groups[:position])
    every = {("link", one.link) for one in items} | {
        ("guid", one.guid) for one in items if one.guid
    }
    assert {name for one in groups for name in one.names()} == every
