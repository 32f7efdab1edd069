"""Unknown deliveries: the relay's log settles some, and the rest is sent again."""

from __future__ import annotations

import gzip

import pytest
import scripted_smtp
from journey import Newsletter, at_noon
from scripted_smtp import DROP, Act, ScriptedServer, Turn

pytestmark = pytest.mark.mainly_on("sqlite")

READERS = 6


def test_unknowns_are_settled_by_the_relays_log_and_the_rest_is_sent_again(
    newsletter: Newsletter,
) -> None:
    at_noon(newsletter)
    newsletter.env["NEWSLETTER_UNKNOWN_POLICY"] = "hold"
    newsletter.run(
        "articles", "add", "--title", "Sleep", "--link", "https://miasfeed.example/sleep"
    )
    readers = "".join(f"reader{n}@readers.example,daily\n" for n in range(READERS))
    newsletter.run("subscribers", "import", "-", "--confirmed", stdin="address,cadence\n" + readers)

    def lose(turn: Turn) -> Act | None:
        return DROP if turn.phase == "body" and turn.earlier < READERS else None

    with scripted_smtp.running(ScriptedServer(lose)) as server:
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        sent = newsletter.json("send", "daily", "--force")
        assert (sent["state"], sent["unknown"], sent["audience"]) == ("finished", READERS, READERS)
        edition = sent["edition"]
        had = {one.message_id for one in server.arrivals[: READERS // 2]}

        listed = newsletter.run("delivery", "list", "--state", "unknown")
        assert all(f" {one.message_id}" in listed for one in server.arrivals)
        assert "newsletter delivery reconcile --accepted FILE" in listed
        log = newsletter.folder / "mail.log.1.gz"
        log.write_bytes(gzip.compress(_log(server, had).encode()))

        rehearsed = newsletter.json("delivery", "reconcile", "--accepted", log, "--dry-run")
        reconciled = newsletter.json("delivery", "reconcile", "--accepted", log)
        assert rehearsed == reconciled | {"dry_run": True}
        assert reconciled == {
            "unknown_before": READERS,
            "accepted": READERS // 2,
            "still_unknown": READERS // 2,
            "already_settled": 0,
            "not_ours": 1,
            "lines": 3 * READERS - READERS // 2 + 1,
            "dry_run": False,
        }
        said = newsletter.run("delivery", "reconcile", "--accepted", log)
        assert "Of 3 unknown deliveries 0 are settled as accepted, 3 stay unknown." in said
        assert "3 about deliveries that were not unknown, 1 about none of ours" in said
        assert "newsletter delivery retry --state unknown" in said

        retried = newsletter.json("delivery", "retry", "--state", "unknown", "--edition", edition)
        assert retried == {"asked": READERS // 2, "retried": READERS // 2}
        newsletter.run("cron")

        again = [one.message_id for one in server.arrivals[READERS:]]
        assert sorted(again) == sorted({one.message_id for one in server.arrivals} - had)
        books = newsletter.json("editions", "show", edition)
        assert (books["state"], books["accepted"], books["unknown"]) == ("finished", READERS, 0)
        assert newsletter.json("delivery", "list", "--state", "unknown")["deliveries"] == []


def _log(server: ScriptedServer, had: set[str]) -> str:
    """Write what a relay logs that lost its client at the end of each, and some in the middle."""
    at, lines = "2026-11-22T06:00:01.250000+00:00 relay postfix", []
    for number, one in enumerate(server.arrivals):
        queue_id = f"1C0B1A{number:04X}"
        lines += [
            f"{at}/smtpd[7]: {queue_id}: client=sender.example[192.0.2.7]",
            f"{at}/cleanup[8]: {queue_id}: message-id=<{one.message_id}>",
        ]
        if one.message_id in had:
            lines.append(
                f"{at}/qmgr[9]: {queue_id}: from=<b@a.example>, size=9, nrcpt=1 (queue active)"
            )
    lines.append(f"{at}/cleanup[8]: 77777: message-id=<1@elsewhere.example>")
    return "\n".join(lines) + "\n"
