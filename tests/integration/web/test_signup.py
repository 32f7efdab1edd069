from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event
from visitor import ANN, JSON, Make, Visitor

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import TooManyRequests
from newsletter.settings import Settings
from newsletter.subscribers import forget, signup, store, suppress
from newsletter.subscribers.consent import Origin
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Purpose
from newsletter.web import signup_limits
from newsletter.web.dependencies import WebContext

pytestmark = pytest.mark.mainly_on("sqlite")

#: Kinds of addresses, and the number of letters they have got before a sign-up.
KINDS = {
    "new": 1,
    "pending": 2,
    "active": 1,
    "unsubscribed": 1,
    "suppressed-reader": 1,
    **{cause.value: int(rule.is_liftable) for cause, rule in suppression.RULES.items()},
}


def make_known(visitor: Visitor) -> dict[str, str]:
    """Make an address of each kind; suppressed ones have no subscriber."""
    addresses = {kind: f"{kind}@readers.example" for kind in KINDS}
    visitor.sign_up(addresses["pending"])
    for kind in ("active", "unsubscribed", "suppressed-reader"):
        visitor.add(addresses[kind])
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE, addresses["unsubscribed"]))
    for cause in Cause:
        suppress_for(visitor, addresses[cause], cause)
    suppress_for(visitor, addresses["suppressed-reader"], Cause.DEAD)
    visitor.wait(days=2)
    return addresses


def suppress_for(visitor: Visitor, address: str, cause: Cause) -> None:
    now, keyring = visitor.now, visitor.keyring
    with sessions.writing(visitor.engine) as session:
        if cause is Cause.ERASED:
            forget.forget(session, address, now=now, keyring=keyring)
            return
        grounds = Grounds(cause, "test", "test")
        suppress.suppress(session, address, grounds=grounds, now=now, keyring=keyring)


def test_a_reader_signs_up_on_the_page_and_confirms_from_the_letter(visitor: Visitor) -> None:
    page = visitor.get("/subscribe")
    assert page.status_code == 200
    visitor.wait(seconds=20)
    assert visitor.submit(page, address=ANN, cadence="daily").status_code == 200
    assert visitor.status() == "pending"

    link = visitor.path("confirm")
    opened = visitor.get(link)
    assert opened.status_code == 200
    assert visitor.status() == "pending"
    assert ANN not in opened.text

    confirmed = visitor.submit(opened)
    assert confirmed.status_code == 200
    assert "Monday 23 November" in confirmed.text
    assert visitor.status() == "active"
    assert visitor.reader().cadence == "daily"
    asked, begun = visitor.consents()
    assert (asked.action, begun.action) == ("asked", "confirmed")
    assert asked.remote == begun.remote == "192.0.2.7"
    assert "How often would you like updates? Daily." in asked.wording
    assert visitor.get(visitor.path("preferences")).status_code == 200
    assert len(visitor.letters()) == 2


def test_confirming_is_idempotent_with_one_welcome_letter(visitor: Visitor) -> None:
    visitor.sign_up()
    link = visitor.path("confirm")
    assert visitor.post(link).status_code == visitor.post(link).status_code == 200
    assert len(visitor.letters()) == 2
    assert visitor.actions() == ["asked", "confirmed"]


@pytest.mark.parametrize("path", ["/subscribe", "/subscriptions"])
def test_the_answer_is_the_same_bytes_for_the_five_kinds_of_address(
    visitor: Visitor, path: str
) -> None:
    addresses = make_known(visitor)
    answers = {}
    for kind, address in addresses.items():
        fields = {"address": address, "cadence": "weekly", "form": visitor.form()}
        answer = visitor.post(path, fields, headers={"Origin": "https://miasfeed.example"})
        answers[kind] = (answer.status_code, dict(answer.headers), answer.content)

    assert all(answer == answers["new"] for answer in answers.values())
    assert answers["new"][0] == 200
    letters = {kind: len(visitor.letters(address)) for kind, address in addresses.items()}
    assert letters == KINDS


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_the_statements_of_a_sign_up_are_the_same_for_the_five_kinds_of_address(
    engine: Engine, settings: Callable[..., Settings]
) -> None:
    visitor = Visitor(engine, settings(signups_per_machine=1_000))
    addresses = make_known(visitor)
    visitor.add("reader@readers.example")
    # After the letters have been compiled, and those of one more letter after them.
    for address in ("stranger@readers.example", "reader@readers.example"):
        for _ in range(3):
            visitor.sign_up(address)
            visitor.wait(days=2)
    counts = {}
    for is_letter_spent in (False, True):
        for kind, address in addresses.items():
            with counted(visitor.engine) as statements:
                visitor.sign_up(address)
            counts[kind, is_letter_spent] = len(statements)

    for is_letter_spent in (False, True):
        assert len({counts[kind, is_letter_spent] for kind in KINDS}) == 1, counts


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_: object, __: object, sql: str, *___: object) -> None:
        statements.append(sql)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


#: The whole attack is one of the long runs; a tenth of it shows the same.
MANY = pytest.mark.parametrize("many", [300, pytest.param(10_000, marks=pytest.mark.torture)])


@MANY
def test_any_number_of_sign_ups_for_one_address_makes_one_letter(visit: Make, many: int) -> None:
    visitor = visit(trusted_proxies=["192.0.2.7"], signups_in_all=100_000)
    first = visitor.sign_up(headers={"X-Forwarded-For": "198.51.100.1"})
    for number in range(many):
        machine = f"198.51.{number // 250}.{number % 250}"
        fields = {"address": ANN, "cadence": "weekly", "form": visitor.form()}
        if number % 100:
            # The same without rendering pages, which would take an hour.
            _ask_directly(visitor, ANN, machine)
            continue
        answer = visitor.post("/subscribe", fields, headers={"X-Forwarded-For": machine})
        assert (answer.status_code, answer.content) == (first.status_code, first.content)

    assert len(visitor.letters()) == 1
    assert visitor.actions() == ["asked"]


def _ask_directly(visitor: Visitor, address: str, machine: str) -> None:
    if not hasattr(visitor, "front"):
        visitor.front = WebContext(visitor.settings, visitor.engine, lambda: visitor.now)  # type: ignore[attr-defined]
    asking = signup_limits.Asking(address, Cadence.WEEKLY, Origin("test", remote=machine))
    signup_limits.ask(visitor.front, asking)  # type: ignore[attr-defined]


@MANY
def test_any_number_of_addresses_from_one_machine_stops_at_the_rate_limit(
    visit: Make, many: int
) -> None:
    visitor = visit(signups_per_machine=5)
    answers = []
    for number in range(many):
        address = f"reader{number}@readers.example"
        if number < 30 or number % 100 == 0:
            answers.append(visitor.sign_up(address))
        else:
            with pytest.raises(TooManyRequests):
                _ask_directly(visitor, address, "192.0.2.7")

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * (len(answers) - 5)
    with sessions.reading(visitor.engine) as session:
        assert store.count(session) == 5
    assert answers[-1].headers["retry-after"] == "3600"
    assert "<h1>" in answers[-1].text
    spoken = visitor.post(
        "/subscriptions", {"address": ANN, "cadence": "weekly", "form": visitor.form()}
    )
    assert (spoken.status_code, spoken.json()["status"]) == (429, "too_many")
    assert spoken.headers["access-control-allow-origin"] == "*"

    visitor.wait(hours=1)
    assert visitor.sign_up().status_code == 200


def test_there_is_a_rate_limit_for_all_sign_ups(visit: Make) -> None:
    visitor = visit(signups_in_all=3, trusted_proxies=["192.0.2.0/24"])
    statuses = [
        visitor.sign_up(
            f"reader{number}@readers.example", headers={"X-Forwarded-For": f"203.0.113.{number}"}
        ).status_code
        for number in range(5)
    ]
    assert statuses == [200, 200, 200, 429, 429]


def test_a_proxy_is_trusted_only_if_a_setting_names_it(visit: Make) -> None:
    visitor = visit(signups_per_machine=2)
    statuses = [
        visitor.sign_up(
            f"reader{number}@readers.example", headers={"X-Forwarded-For": f"203.0.113.{number}"}
        ).status_code
        for number in range(3)
    ]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("remote", "same"),
    [("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), ("::ffff:198.51.100.7", "198.51.100.7")],
)
def test_a_home_on_ipv6_is_one_machine(visit: Make, remote: str, same: str) -> None:
    visitor = visit(signups_per_machine=1, trusted_proxies=["192.0.2.7"])
    assert visitor.sign_up(headers={"X-Forwarded-For": remote}).status_code == 200
    assert visitor.sign_up("b@x.org", headers={"X-Forwarded-For": same}).status_code == 429


def answers_from(visitor: Visitor, remotes: Iterable[str]) -> list[int]:
    """Sign up a new address from each machine in turn."""
    return [
        visitor.sign_up(
            f"reader{visitor.now.timestamp():.0f}-{number}@readers.example",
            headers={"X-Forwarded-For": remote},
        ).status_code
        for number, remote in enumerate(remotes)
    ]


@pytest.mark.parametrize(
    ("remotes", "homes"),
    [
        ([f"2001:db8:1:2::{number:x}" for number in range(12)], 1),
        ([f"2001:db8:1:2{number:02x}::1" for number in range(12)], 2),
        ([f"2001:db8:1:{number:x}00::1" for number in range(12)], 4),
    ],
    ids=["/64", "/56", "/48"],
)
def test_wider_ipv6_networks_have_rate_limits_of_their_own(
    visit: Make, remotes: list[str], homes: int
) -> None:
    visitor = visit(signups_per_machine=2, trusted_proxies=["192.0.2.7"])

    assert answers_from(visitor, remotes).count(200) == 2 * homes


@pytest.mark.parametrize(
    "prefix", ["2001:db8:1:{:x}::1", "198.51.100.{}"], ids=["a /48 of IPv6", "a /24 of IPv4"]
)
def test_one_network_never_closes_sign_up_for_the_rest(visit: Make, prefix: str) -> None:
    visitor = visit(signups_in_all=40, signups_per_machine=20, trusted_proxies=["192.0.2.7"])
    attack = answers_from(visitor, (prefix.format(number) for number in range(1, 61)))
    assert attack.count(200) == 10

    visitor.wait(seconds=1)
    others = [*(f"203.0.{number}.1" for number in range(15)), *(f"2a00:{n}::1" for n in range(15))]
    assert answers_from(visitor, others) == [200] * 30
    assert answers_from(visitor, ["203.0.99.1"]) == [429]


def test_twenty_subaddresses_of_one_mailbox_get_one_letter_a_day(visitor: Visitor) -> None:
    for number in range(20):
        assert visitor.sign_up(f"victim+{number}@readers.example").status_code == 200
    addresses = [f"victim+{number}@readers.example" for number in range(20)]
    assert sum(len(visitor.letters(address)) for address in addresses) == 1

    for number in range(3):
        visitor.wait(days=2)
        visitor.sign_up(f"victim+more{number}@readers.example")
    more = [f"victim+more{number}@readers.example" for number in range(3)]
    assert sum(len(visitor.letters(address)) for address in [*addresses, *more]) == 3


def test_a_reader_is_written_to_at_the_address_as_it_was_typed(visitor: Visitor) -> None:
    visitor.sign_up("Ann.Lee+news@gmail.com")
    assert [letter["To"] for letter in visitor.letters("ann.lee+news@gmail.com")] == [
        "ann.lee+news@gmail.com"
    ]


def test_a_client_without_a_network_address_is_limited_too(visit: Make) -> None:
    visitor = visit(signups_per_machine=1, trusted_proxies=["192.0.2.7"])
    assert visitor.sign_up(headers={"X-Forwarded-For": "_hidden"}).status_code == 200
    assert visitor.sign_up("b@x.org", headers={"X-Forwarded-For": "bogus"}).status_code == 429
    assert visitor.consents()[0].remote is None


@pytest.mark.parametrize(
    ("age", "taken"),
    [(timedelta(seconds=1), False), (timedelta(seconds=3), True), (timedelta(hours=25), False)],
    ids=["too young", "good", "too old"],
)
def test_a_form_token_is_valid_if_neither_too_young_nor_too_old(
    visit: Make, age: timedelta, taken: bool
) -> None:
    visitor = visit()
    form = visitor.keyring.form(now=visitor.now - age)
    fields = {"address": ANN, "cadence": "daily", "form": form}

    page = visitor.post("/subscribe", fields)
    assert page.status_code == 200
    assert (visitor.find() is not None) is taken
    spoken = visitor.post("/subscriptions", fields)
    assert spoken.status_code == (200 if taken else 422)
    if not taken:
        assert spoken.json()["problem"] == "once_more"
        visitor.wait(seconds=5)
        assert visitor.submit(page).status_code == 200
        assert visitor.reader().cadence == "daily"


def test_the_box_without_scripts_has_to_be_submitted_again(visit: Make) -> None:
    visitor = visit()
    page = visitor.post("/subscribe", {"address": ANN, "cadence": "monthly", "homepage": ""})
    assert page.status_code == 200
    assert visitor.find() is None

    visitor.wait(seconds=3)
    visitor.submit(page)
    assert visitor.reader().cadence == "monthly"


def test_the_box_with_scripts_gets_a_token_and_its_site_is_recorded(visit: Make) -> None:
    visitor = visit()
    form = visitor.get("/subscriptions/form")
    assert form.headers["access-control-allow-origin"] == "*"
    visitor.wait(seconds=9)
    answer = visitor.post(
        "/subscriptions",
        {"address": ANN, "cadence": "daily", "form": form.json()["form"], "homepage": ""},
        headers={**JSON, "Origin": "https://www.miasfeed.example"},
    )
    assert answer.json() == {"status": "asked"}
    assert answer.headers["access-control-allow-origin"] == "*"
    assert visitor.consents()[0].source == "box on www.miasfeed.example"


def test_a_person_whose_browser_filled_the_hidden_field_gets_through_on_the_second_try(
    visitor: Visitor,
) -> None:
    page = visitor.get("/subscribe")
    visitor.wait(seconds=20)
    asked = visitor.submit(page, address=ANN, cadence="monthly", homepage="https://ann.example")
    assert asked.status_code == 200
    assert "once more" in asked.text
    assert 'name="homepage"' not in asked.text
    assert visitor.find() is None

    # Immediately, as by a person who submits again without reading.
    assert visitor.submit(asked, address=ANN, cadence="monthly").status_code == 200
    assert len(visitor.letters()) == 1


def test_a_filled_honeypot_is_refused_each_time(visit: Make) -> None:
    visitor = visit()
    for form in (visitor.keyring.form(now=visitor.now), "", "junk"):
        fields = {"address": ANN, "cadence": "weekly", "form": form, "homepage": "x"}
        asked = visitor.post("/subscribe", fields)
        assert visitor.submit(asked, address=ANN).status_code == 200
    assert visitor.find() is None

    fields = {"address": ANN, "cadence": "weekly", "form": visitor.form(), "homepage": "x"}
    for _ in range(2):
        spoken = visitor.post("/subscriptions", fields)
        assert (spoken.status_code, spoken.json()["problem"]) == (422, "once_more")
    assert visitor.find() is None
    assert visitor.post("/subscriptions", {**fields, "homepage": ""}).status_code == 200


@pytest.mark.parametrize("address", ["", "ann", "ann@", "a b@x.org", "a@x.org\r\nBcc: b@x.org"])
def test_an_invalid_address_is_reported_beside_the_field(visit: Make, address: str) -> None:
    visitor = visit()
    page = visitor.sign_up(address)
    assert page.status_code == 422
    assert "aria-invalid" in page.text
    spoken = visitor.post(
        "/subscriptions", {"address": address, "cadence": "daily", "form": visitor.form()}
    )
    assert spoken.json() == {"status": "refused", "problem": "address"}


def test_a_cadence_that_does_not_exist_is_asked_again(visit: Make) -> None:
    visitor = visit()
    assert visitor.sign_up(cadence="hourly").status_code == 422
    assert visitor.find() is None


HOSTILE = [
    "<script>alert(1)</script>@x.org",
    '"><img src=x onerror=alert(1)>@x.org',
    "{{ 7*7 }}@x.org",
    "{% raw %}@x.org",
    "\u202eevil@x.org",
    "a@x.org\u2028Subject: x",
    "\x00\x1b[31m@x.org",
    "\ud800@x.org",
    "=?utf-8?q?evil=2Ecom?=@x.org",
    "a" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("field", ["address", "cadence", "form", "homepage"])
def test_hostile_text_is_escaped_and_never_stored(visit: Make, field: str, text: str) -> None:
    visitor = visit()
    sent = text.encode("utf-8", "surrogatepass").decode("latin-1")
    fields = {"address": ANN, "cadence": "weekly", "form": visitor.form(), field: sent}
    for path in ("/subscribe", "/subscriptions"):
        answer = visitor.post(path, fields)
        assert answer.status_code in {200, 422}
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert "49@x.org" not in answer.text
    for letter in visitor.letters():
        assert len(letter.keys()) == len(set(letter.keys()))


def test_an_invalid_link_is_not_found(visitor: Visitor) -> None:
    for path in ("/confirm/x", "/preferences/x", "/unsubscribe/x", "/view/x", "/confirm/x/again"):
        posted = [] if path == "/view/x" else [visitor.post(path)]
        got = [] if path.endswith("again") else [visitor.get(path)]
        for answer in (*posted, *got):
            assert answer.status_code == 404, path
            assert answer.headers["content-type"].startswith("text/html")


def test_an_expired_link_says_how_old_it_is_and_offers_a_new_one(visitor: Visitor) -> None:
    visitor.sign_up()
    link = visitor.path("confirm")
    visitor.wait(days=4)

    for answer in (visitor.get(link), visitor.post(link)):
        assert answer.status_code == 410
        assert "4 days" in answer.text
    assert visitor.status() == "pending"
    asked = visitor.submit(answer)
    assert (asked.status_code, len(visitor.letters())) == (200, 2)
    assert visitor.post(visitor.path("confirm")).status_code == 200
    assert visitor.status() == "active"


def test_a_confirm_link_is_outdated_after_an_unsubscribe(visitor: Visitor) -> None:
    visitor.sign_up()
    link = visitor.path("confirm")
    visitor.post(link)
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE))
    for answer in (visitor.get(link), visitor.post(link)):
        assert answer.status_code == 410
    assert visitor.status() == "unsubscribed"


def test_the_script_is_public_and_small(visit: Make) -> None:
    script = visit().get("/embed.js")
    assert script.status_code == 200
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cross-origin-resource-policy"] == "cross-origin"
    assert script.headers["cache-control"] == "public, max-age=300"


def test_the_rate_limit_of_a_machine_discloses_nothing_about_an_address(visit: Make) -> None:
    """An address that is over its own limit must count for the machine all the same."""
    left = []
    for before in (0, 3, 15):
        visitor = visit(trusted_proxies=["192.0.2.7"], signups_per_machine=20)
        address = f"victim{before}@readers.example"
        for number in range(before):
            visitor.sign_up(address, headers={"X-Forwarded-For": f"198.51.100.{number}"})
        stranger = {"X-Forwarded-For": f"203.0.113.{before}"}
        for _ in range(12):
            visitor.sign_up(address, headers=stranger)
        answers = [
            visitor.sign_up(f"r{before}-{n}@readers.example", headers=stranger).status_code
            for n in range(12)
        ]
        left.append(answers.count(200))

    assert left == [8, 8, 8]


def test_three_letters_go_to_an_address_that_confirms_none_of_them(visit: Make) -> None:
    visitor = visit()
    for _ in range(6):
        visitor.sign_up()
        visitor.wait(days=2)
    assert len(visitor.letters()) == signup.UNCONFIRMED.count == 3


def test_nobody_is_locked_out_by_letters_that_somebody_else_has_caused_30_days_ago(
    visit: Make,
) -> None:
    visitor = visit()
    for _ in range(3):
        visitor.sign_up()
        visitor.wait(days=1)
    visitor.wait(days=27, seconds=1)

    visitor.sign_up()

    assert len(visitor.letters()) == 4
    assert visitor.post(visitor.path("confirm")).status_code == 200
    assert visitor.status() == "active"


def test_sign_ups_by_others_cause_three_letters_a_month_to_a_reader(visit: Make) -> None:
    visitor = visit()
    visitor.add()
    for _ in range(10):
        visitor.sign_up()
        visitor.wait(days=2)
    assert len(visitor.letters()) == signup.PRESENTS.count == 3


def test_who_has_been_a_reader_since_may_ask_again(visitor: Visitor) -> None:
    """The limit of unconfirmed letters is reset when a consent begins."""
    for _ in range(3):
        visitor.sign_up()
        visitor.wait(days=2)
    visitor.add()
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE))
    before = len(visitor.letters())
    visitor.wait(days=2)

    visitor.sign_up()

    assert len(visitor.letters()) == before + 1


def test_the_form_for_pages_without_scripts_is_text_to_paste(visit: Make) -> None:
    box = visit().get("/box")
    assert box.headers["content-type"].startswith("text/plain")
    assert '<form class="newsletter-box" method="post"' in box.text
