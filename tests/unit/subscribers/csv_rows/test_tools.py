"""Exports of other tools, made up in the form that each tool documents.

The local part of each address is its expected state: `bounced-1@reader.example` is bounced.
"""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from newsletter.models import Status
from newsletter.subscribers import csv_rows
from newsletter.subscribers.csv_rows import Entry
from newsletter.subscribers.csv_rows.columns import Choice
from newsletter.subscribers.csv_rows.states import Standing
from newsletter.subscribers.csv_rows.tools import TOOLS

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SAMPLES = Path(__file__).parents[3] / "samples" / "imports"
TOOL_OF = {
    "beehiiv": "beehiiv",
    "brevo": "Brevo",
    "buttondown": "Buttondown",
    "ghost": "Ghost",
    "hubspot": "HubSpot",
    "hubspot-bounces": "HubSpot",
    "keila": "Keila",
    "kit": "Kit",
    "listmonk": "listmonk",
    "mailchimp-cleaned": "Mailchimp",
    "mailchimp-subscribed": "Mailchimp",
    "mailchimp-unsubscribed": "Mailchimp",
    "mailerlite": "MailerLite",
    "mailpoet": "MailPoet",
    "mautic": "Mautic",
    "phplist": "phpList",
    "sendgrid-blocks": "SendGrid bounces, blocks",
    "sendgrid-bounces": "SendGrid bounces, blocks",
    "sendgrid-invalid-emails": "SendGrid invalid emails",
    "sendgrid-spam-reports": "SendGrid spam reports",
    "sendgrid-unsubscribes": "SendGrid unsubscribes",
    "ses": "Amazon SES",
    # It has no header, and is recognised by its cells.
    "ses-bulk": None,
    "substack": "Substack",
}


def read(name: str, choice: Choice | None = None) -> tuple[str | None, list[Entry]]:
    with (SAMPLES / f"{name}.csv").open("rb") as stream:
        survey = csv_rows.survey(stream, choice)
        stream.seek(0)
        text = csv_rows.decode(stream, survey.encoding)
        lines = list(csv_rows.read(text, survey, now=NOW))
    assert survey.columns
    tool = survey.columns.tool
    entries = [line for line in lines if isinstance(line, Entry)]
    assert len(entries) == len(lines)
    return tool.name if tool else None, entries


def test_each_tool_has_a_sample_and_each_sample_is_tested() -> None:
    assert {file.stem for file in SAMPLES.glob("*.csv")} == set(TOOL_OF)
    named = {tool.name for tool in TOOLS} - {"newsletter"}
    assert {name for name in TOOL_OF.values() if name} == named


@pytest.mark.parametrize("name", TOOL_OF)
def test_the_export_of_each_tool_keeps_the_state_of_every_reader(name: str) -> None:
    tool, entries = read(name)

    assert tool == TOOL_OF[name]
    found = {entry.address: entry.standing.name.lower() for entry in entries}
    assert found == {address: address.partition("-")[0] for address in found}


@pytest.mark.parametrize("name", TOOL_OF)
def test_nobody_who_left_bounced_complained_or_never_confirmed_is_active(name: str) -> None:
    for entry in read(name)[1]:
        if not entry.address.startswith(("active", "silent")):
            assert entry.status not in {Status.ACTIVE, None}


@pytest.mark.parametrize("name", sorted(set(TOOL_OF) - {"ses", "ses-bulk"}))
def test_columns_are_recognised_in_any_spelling(name: str) -> None:
    """Spreadsheets and people change the case of headers, and write _ for a space."""
    header, end, rest = (SAMPLES / f"{name}.csv").read_bytes().partition(b"\n")
    spelled = header.replace(b"doNot", b"do not ").upper().replace(b" ", b"_")
    stream = BytesIO(spelled + end + rest)

    survey = csv_rows.survey(stream)
    stream.seek(0)
    found = csv_rows.read(csv_rows.decode(stream, survey.encoding), survey, now=NOW)

    standings = [entry.standing for entry in found if isinstance(entry, Entry)]
    assert standings == [entry.standing for entry in read(name)[1]]


def test_the_evidence_of_a_mailchimp_export_is_read() -> None:
    anna = read("mailchimp-subscribed")[1][0]

    assert anna.evidence.opted_in_at == datetime(2023, 4, 1, 9, 30, tzinfo=UTC)
    assert anna.evidence.opted_in_from == "192.0.2.10"
    assert anna.evidence.confirmed_at == datetime(2023, 4, 1, 9, 41, 12, tzinfo=UTC)
    assert anna.evidence.confirmed_from == "192.0.2.11"
    assert anna.timezone == "Europe/Berlin"


def test_the_language_and_time_zone_of_a_mautic_export_are_read() -> None:
    first, second, *_ = read("mautic")[1]

    assert (first.language, first.timezone) == ("de", "Europe/Berlin")
    assert (second.language, second.timezone) == ("en-GB", None)


def test_a_list_of_addresses_with_their_suppression_is_no_list_of_readers() -> None:
    for tool in TOOLS:
        if tool.name.startswith(("SendGrid", "Amazon")):
            assert tool.every >= Standing.UNSUBSCRIBED
