"""What a one-click unsubscribe is answered, and whose fault it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from newsletter.doctor import oneclick
from newsletter.doctor.findings import Level
from newsletter.doctor.oneclick import Replies, Reply

URL = "https://news.miasfeed.example/unsubscribe/"
OK = Reply(status=200, headers={"content-type": "text/html"})
RIGHT = Replies(form=OK, multipart=OK, page=OK, bad=Reply(status=404))


def said(replies: Replies = RIGHT, url: str = URL, **changes: Any) -> str:
    found = oneclick.judge(replace(replies, **changes), url=url)
    return f"{found.sentence} {found.hint}" if found else ""


def test_the_answers_of_our_own_program_are_right() -> None:
    assert said() == ""


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "asks for a login"),
        (403, "bot protection"),
        (404, "other secret_keys"),
        (405, "allows no POST"),
        (410, "another newsletter"),
        (413, "client_max_body_size"),
        (429, "rate limit"),
        (502, "newsletter serve` runs"),
        (503, "newsletter serve` runs"),
        (504, "newsletter serve` runs"),
        (418, "our own program answers 200"),
    ],
)
@pytest.mark.parametrize("field", ["form", "multipart"])
def test_each_status_names_its_cause(status: int, words: str, field: str) -> None:
    assert words in said(**{field: Reply(status=status)})


def test_a_redirect_to_https_is_mended_in_base_url() -> None:
    to = Reply(status=301, headers={"location": "https://news.miasfeed.example/unsubscribe/x"})

    assert "Let base_url begin with https://" in said(form=to, url=URL.replace("https", "http"))


def test_a_redirect_to_another_host_names_it() -> None:
    to = Reply(status=308, headers={"location": "https://www.miasfeed.example/unsubscribe/x"})

    assert "to https://www.miasfeed.example, which mail clients do not follow" in said(form=to)
    assert "if www.miasfeed.example is yours" in said(form=to)


@pytest.mark.parametrize("location", ["/login", "", "https://[no-address/"])
def test_a_redirect_on_the_same_host_is_the_proxys(location: str) -> None:
    to = Reply(status=302, headers={"location": location})

    assert "without a redirect and without a login" in said(form=to)


def test_a_page_that_answers_everything_is_not_ours() -> None:
    assert "a link that nobody has signed" in said(bad=OK)


@pytest.mark.parametrize("bad", [Reply(failure="nothing within 8 seconds"), Reply(status=502)])
def test_a_bad_link_without_an_answer_shows_nothing(bad: Reply) -> None:
    found = oneclick.judge(replace(RIGHT, bad=bad), url=URL)

    assert found is not None
    assert found.level is Level.NOT_CHECKED
    assert (bad.failure or "502") in found.sentence


def test_a_cookie_is_wrong() -> None:
    assert "sets a cookie" in said(form=replace(OK, headers={"set-cookie": "a=b"}))


@pytest.mark.parametrize("headers", [{"age": "12"}, {"x-cache": "HIT"}, {"cf-cache-status": "HIT"}])
def test_a_cache_is_found_by_its_headers(headers: dict[str, str]) -> None:
    assert "A cache answers" in said(page=replace(OK, headers=headers))


@pytest.mark.parametrize(
    "headers", [{"age": "0"}, {"x-cache": "MISS"}, {"cf-cache-status": "DYNAMIC"}, {"age": "x"}]
)
def test_a_cache_that_has_passed_it_on_is_no_fault(headers: dict[str, str]) -> None:
    assert said(page=replace(OK, headers=headers)) == ""


def test_a_link_that_shows_no_page_is_wrong() -> None:
    assert "answers GET with 403" in said(page=Reply(status=403))
    assert "answers GET with nothing" in said(page=Reply(failure="nothing within 8 seconds"))


def test_no_answer_says_why() -> None:
    assert "connection refused" in said(form=Reply(failure="connection refused"))
