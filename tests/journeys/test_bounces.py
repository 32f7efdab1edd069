"""Behind a Postfix that accepts everything, what it returns later ends in the right states."""

from __future__ import annotations

import mailbox
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import relays
from aiosmtpd.smtp import SMTP, Envelope, Session
from journey import Newsletter, at_noon, free_port, stories, tool, until

from newsletter.cli.catcher import ClosingController

pytestmark = [pytest.mark.mainly_on("sqlite"), pytest.mark.xdist_group("postfix")]

#: What the readers' server says to each kind of mailbox, try by try; the last one is repeated.
REPLIES: Mapping[str, list[str]] = {
    "gone": ["550 5.1.1 <{}>: no such user here"],
    "full": ["552 5.2.2 <{}>: mailbox over quota"],
    "grey": ["450 4.2.0 <{}>: greylisted", "550 5.1.1 <{}>: no such user here"],
    "late": ["450 4.2.0 <{}>: try again later"] * 4 + ["250 2.1.5 Fine"],
    "spam": ["550 5.7.1 <{}>: blocked by our policy"],
    "well": ["250 2.1.5 Fine"],
}
#: Of a hundred readers.
SHARES = {"gone": 4, "full": 3, "grey": 3, "late": 2, "spam": 2, "well": 86}
DEAD = ("gone", "grey")
#: How often in a row the queue has to be empty.
_LOOKS = 5


class Far:
    """The readers' mail server, behind the relay."""

    def __init__(self) -> None:
        self.tries: Counter[str] = Counter()
        #: The articles in the mails that each reader got.
        self.got: dict[str, list[list[str]]] = defaultdict(list)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        replies = REPLIES[address[:4]]
        reply = replies[min(self.tries[address], len(replies) - 1)].format(address)
        self.tries[address] += 1
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        self.got[envelope.rcpt_tos[0]].append(stories(message))
        return "250 2.0.0 Ok"


class Post(NamedTuple):
    """A relay that accepts everything, and the Maildir of what it returns."""

    port: int
    folder: Path
    box: Path
    far: Far

    def settle(self) -> None:
        """Wait until the relay has delivered or returned all that it has."""
        postqueue = tool("postqueue")
        assert postqueue is not None
        order = [postqueue, "-c", str(self.folder / "etc"), "-j"]
        listed = [b"?"]

        def is_empty() -> bool:
            listed.append(subprocess.check_output(order).strip())
            # A mail that moves between queues meanwhile is seen in neither.
            return not any(listed[-_LOOKS:])

        try:
            until(is_empty, seconds=120)
        except AssertionError:
            log = (self.folder / "log").read_text()
            pytest.fail(f"{listed[-1].decode()}\n{log[-4_000:]}")


@contextmanager
def post() -> Iterator[Post]:
    far = Far()
    # The user as whom Postfix delivers has to get there.
    box = Path("/tmp", f"newsletter-bounces-{free_port()}")
    box.mkdir()
    shutil.chown(box, "nobody", "nogroup")
    controller = ClosingController(far, hostname="127.0.0.1", port=free_port())
    controller.start()
    port = free_port()
    parameters = f"""\
default_transport = smtp:[127.0.0.1]:{controller.port}
virtual_mailbox_domains = miasfeed.example, bounces.miasfeed.example
virtual_mailbox_base = {box}
virtual_mailbox_maps = static:new-mail/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_transport = virtual
recipient_delimiter = +
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
delay_warning_time = 2s
notify_classes =
"""
    try:
        with relays.postfix({port: ""}, parameters=parameters) as log:
            yield Post(port, log.parent, box / "new-mail", far)
    finally:
        controller.stop()
        shutil.rmtree(box)


def readers(count: int) -> list[str]:
    return [
        f"{kind}{number}@readers.example"
        for kind, share in SHARES.items()
        for number in range(max(1, share * count // 100))
    ]


def of(kind: str, addresses: list[str]) -> int:
    return sum(address.startswith(kind) for address in addresses)


@pytest.mark.parametrize(
    ("return_path", "count"),
    [
        ("bounces+{token}@miasfeed.example", 500),
        ("bounces+{token}@miasfeed.example", 50),
        ("{token}@bounces.miasfeed.example", 50),
        ("bounces@miasfeed.example", 50),
    ],
)
def test_what_a_relay_returns_later_ends_in_the_right_states(
    newsletter: Newsletter, write_feed: Callable[..., Path], return_path: str, count: int
) -> None:
    # The smaller ones are known by the return path alone, where it is signed.
    has_message_id = count > 50 or "{token}" not in return_path
    addresses = readers(count)
    (newsletter.folder / "readers.csv").write_text("email\n" + "\n".join(addresses) + "\n")
    newsletter.run("subscribers", "import", "readers.csv", "--confirmed", "--cadence", "daily")
    with post() as relay:
        newsletter.env |= {
            "NEWSLETTER_SMTP_URL": f"smtp://127.0.0.1:{relay.port}",
            "NEWSLETTER_RETURN_PATH": return_path,
        }
        at_noon(newsletter)
        newsletter.run("feeds", "add", write_feed("alpha"))
        # Yesterday's edition, then today's.
        first = edition(newsletter, relay, daily_at="13:00", has_message_id=has_message_id)
        write_feed("alpha", "beta")
        newsletter.run("feeds", "fetch")
        second = edition(newsletter, relay, daily_at="11:00", has_message_id=has_message_id)
        got = dict(relay.far.got)

    dead = sum(of(kind, addresses) for kind in DEAD)
    assert first["read"]["suppressed"] == dead
    assert first["read"]["unplaced"] == 0
    bounced = dead + of("full", addresses) + of("spam", addresses)
    assert (first["accepted"], first["bounced"]) == (len(addresses), bounced)
    # The dead are not written to again, all others are.
    assert second["audience"] == second["accepted"] == len(addresses) - dead
    assert (second["read"]["suppressed"], second["bounced"]) == (0, bounced - dead)
    suppressed = newsletter.json("suppression", "list", "--limit", 1_000)["suppressions"]
    assert {(one["address"][:4], one["cause"]) for one in suppressed} == {
        (kind, "bounce") for kind in DEAD
    }
    assert len(suppressed) == dead
    # Nobody gets an old one again.
    for address in addresses:
        expected = [["alpha"], ["beta"]] if address[:4] in {"well", "late"} else []
        assert got.get(address, []) == expected
    shown = newsletter.json("subscribers", "show", "late0@readers.example")
    assert [one["returned"] for one in shown["deliveries"]] == [None, "delayed"]


def edition(
    newsletter: Newsletter, relay: Post, *, daily_at: str, has_message_id: bool
) -> dict[str, Any]:
    """Send an edition, wait for what comes back, and read it, twice; return its books."""
    newsletter.env["NEWSLETTER_DAILY_AT"] = daily_at
    sent = newsletter.run("send", "daily")
    assert "finished" in sent, sent
    relay.settle()
    if not has_message_id:
        forget_message_ids(relay.box)
    read = newsletter.json("feedback", "read", relay.box)
    again = newsletter.json("feedback", "read", relay.box)
    assert again["repeated"] == again["read"]
    (found, *_) = newsletter.json("editions", "list")["editions"]
    return {**found, "read": read}


def forget_message_ids(box: Path) -> None:
    """Have the mails that came back not name those that they are of."""
    maildir = mailbox.Maildir(box)
    for key in maildir.iterkeys():
        with maildir.get_file(key) as file:
            octets = file.read()
        changed = re.sub(rb"[\w-]{16}\.[\w-]{16}@", b"gone@", octets)
        next(path for path in box.glob(f"*/{key}*")).write_bytes(changed)
