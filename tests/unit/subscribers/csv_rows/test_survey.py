from __future__ import annotations

import csv
import io
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.errors import InvalidInput
from newsletter.models import Status
from newsletter.subscribers import csv_rows
from newsletter.subscribers.csv_rows import Choice, Entry, Rejection, states
from newsletter.suppression import Cause

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def read(text: str, choice: Choice | None = None) -> list[Entry | Rejection]:
    octets = text.encode("utf-8", "surrogatepass")
    survey = csv_rows.survey(io.BytesIO(octets), choice)
    return list(
        csv_rows.read(csv_rows.decode(io.BytesIO(octets), survey.encoding), survey, now=NOW)
    )


def statuses(text: str, choice: Choice | None = None) -> list[Status | None]:
    return [line.status for line in read(text, choice) if isinstance(line, Entry)]


def stop(text: str, choice: Choice | None = None) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        read(text, choice)
    return raised.value


def is_clear(error: InvalidInput) -> None:
    assert error.message
    assert error.hint


def of_column(name: str, *cells: str) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["email", name])
    for number, cell in enumerate(cells):
        writer.writerow([f"reader{number}@x.org", cell])
    return written.getvalue()


# Columns that look like a state


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("Kundenstatus", "neu"),
        ("Abo", "nein"),
        ("reason", "mailbox full"),
        ("Customer status", "gold"),
        ("Newsletter", "nein"),
        ("Marketing permissions", "none"),
        ("GDPR", "no"),
        ("Consent", "0"),
        ("Einwilligung", "nein"),
        ("Abmeldung", "x"),
        ("wants_mail_optin", "2"),
        ("Suppression list", "A"),
        ("spam_score", "9"),
        ("bounce count", "3"),
        ("Statut", "parti"),
        ("state", "gone away"),
        ("state", "Bavaria"),
        ("Valid", "no"),
        ("receive_emails", "false"),
        # Recognised by their cells alone.
        ("Notiz", "abgemeldet"),
        ("x", "Unsubscribed"),
        ("tag", "complained"),
        ("Column 7", "hard bounce"),
    ],
)
def test_a_column_that_looks_like_a_state_and_is_not_known_stops_the_import(
    name: str, cell: str
) -> None:
    error = stop(of_column(name, "", cell, cell))

    assert repr(name) in error.message
    assert f"{cell!a} (2)" in error.message
    assert "Nothing was imported" in error.message
    assert "--column status=" in str(error.hint)
    assert "--ignore-column" in str(error.hint)


def test_all_columns_that_look_like_a_state_are_named_at_once_and_their_cells_are_few() -> None:
    rows = "".join(f"r{n}@x.org,{n},{n % 40}\n" for n in range(500))

    error = stop("email,Kundenstatus,Consent\n" + rows)

    assert "'Kundenstatus' (many different cells)" in error.message
    assert "'Consent'" in error.message
    assert "and 35 more" in error.message
    assert len(error.message) < 500


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("Country/State", ["Texas", "Bavaria"]),
        ("State/Province", ["TX", "Ontario"]),
        ("State", ["TX", "CA", "ny"]),
        ("state", ["California", "New York", ""]),
        ("Billing state", ["Bavaria"]),
        ("Consent text", ["I agree to weekly news"]),
        ("Last active date", ["2024-01-01"]),
        ("Member rating", ["1", "2"]),
        ("Status URL", ["https://x.org/1"]),
        ("Unsubscribe link", ["https://x.org/u/1"]),
        ("Bounce count", ["0", "", "0"]),
        ("Kundenstatus", ["", ""]),
        ("Name", ["Blocked GmbH", "Paula Pending-Jones"]),
        ("premium", ["true", "false"]),
        ("html", ["1", "0"]),
        ("signed_up_at", ["2024-01-01", ""]),
        ("subscribed_at", ["2024-01-01", ""]),
        ("City", ["Active", "Bonn"]),
    ],
)
def test_columns_that_are_no_state_do_not_stop_the_import(name: str, cells: list[str]) -> None:
    assert statuses(of_column(name, *cells)) == [None] * len(cells)


# Common columns


@pytest.mark.parametrize(
    ("name", "cell", "status"),
    [
        *((n, c, Status.UNSUBSCRIBED) for c in ("true", "1", "yes", "Y", "ja", "2024-01-05", "x")
          for n in ("opt_out", "OptOut", "unsubscribed", "Opted out", "HasOptedOutOfEmail",
                    "do_not_mail", "doNotContact", "deleted", "Unsubscribed from all email")),
        *((n, "0", None) for n in ("opt_out", "bounced", "blacklisted", "spam", "deleted")),
        ("bounced", "true", Status.SUPPRESSED),
        ("blacklisted", "1", Status.SUPPRESSED),
        ("EMAIL_BLOCKLISTED", "yes", Status.SUPPRESSED),
        ("complained", "1", Status.SUPPRESSED),
        ("unsubscribed_at", "2024-01-05 10:00:00", Status.UNSUBSCRIBED),
        ("unsubscribed_at", "NULL", None),
        ("unsubscribed_at", "0000-00-00 00:00:00", None),
        ("deleted_at", "1704448800", Status.UNSUBSCRIBED),
        ("OptOut_Date", "20110122T111244", Status.UNSUBSCRIBED),
        ("bounce reason", "550 no such user", Status.SUPPRESSED),
        ("Opted out of email: One to One", "true", Status.UNSUBSCRIBED),
        ("confirmed", "0", Status.PENDING),
        ("confirmed", "1", Status.ACTIVE),
        ("confirmed_at", "", Status.PENDING),
        ("confirmed_at", "2024-01-05", None),
        ("email_verified_at", "", Status.PENDING),
        ("verified", "false", Status.PENDING),
        ("subscribed", "no", Status.UNSUBSCRIBED),
        ("subscribed", "yes", Status.ACTIVE),
        ("accepts_marketing", "no", Status.UNSUBSCRIBED),
        # An active account is no consent to a newsletter.
        ("active", "1", None),
        ("active", "0", Status.UNSUBSCRIBED),
        ("enabled", "false", Status.UNSUBSCRIBED),
        ("status", "1", Status.ACTIVE),
        ("status", "0", Status.UNSUBSCRIBED),
        ("status", "Opted-Out", Status.UNSUBSCRIBED),
        ("status", "abgemeldet", Status.UNSUBSCRIBED),
        ("status", "gesperrt", Status.SUPPRESSED),
        ("subscription_status", "désabonné", Status.UNSUBSCRIBED),
        ("abgemeldet", "ja", Status.UNSUBSCRIBED),
        ("désabonné", "oui", Status.UNSUBSCRIBED),
        ("state", "unsubscribed", Status.UNSUBSCRIBED),
    ],
)  # fmt: skip
def test_a_common_column_is_known(name: str, cell: str, status: Status | None) -> None:
    assert statuses(of_column(name, cell)) == [status]


def test_of_several_states_the_strictest_counts() -> None:
    text = (
        "email,status,bounced,complained,confirmed\n"
        "a@x.org,active,0,0,1\nb@x.org,active,0,0,0\nc@x.org,unsubscribed,0,0,0\n"
        "d@x.org,unsubscribed,1,0,1\ne@x.org,active,1,1,1\nf@x.org,paused,0,0,1\n"
    )

    found = [line.standing.name for line in read(text) if isinstance(line, Entry)]

    assert found == ["ACTIVE", "PENDING", "UNSUBSCRIBED", "BOUNCED", "COMPLAINED", "PAUSED"]


def test_a_complained_or_bounced_row_with_an_odd_cadence_is_suppressed_not_rejected() -> None:
    text = (
        "email,status,cadence,paused_until\na@x.org,complained,hourly,soon\n"
        "b@x.org,bounced,never,\nc@x.org,unsubscribed,never,\nd@x.org,active,hourly,\n"
    )

    *gone, bad = read(text)

    assert [(e.status, e.cause) for e in gone if isinstance(e, Entry)] == [
        ("suppressed", "complaint"),
        ("suppressed", "bounce"),
        ("unsubscribed", None),
    ]
    assert isinstance(bad, Rejection)


# Unknown cells of state columns


@pytest.mark.parametrize(
    "cell",
    ["vanished", "-1", "!active", "active?!no", "2", "null", "subscribed (not confirmed)", "✗✗",
     "in active", "not active", "aktiv gesperrt"],
)  # fmt: skip
def test_an_unknown_state_stops_the_import(cell: str) -> None:
    error = stop(of_column("status", "active", cell, "unsubscribed", cell))

    assert "'status'" in error.message
    assert f"{cell!a} (2)" in error.message
    assert "--ignore-column status" in str(error.hint)


def test_confirmed_in_a_column_of_complaints_is_unknown() -> None:
    assert "'confirmed'" in stop(of_column("spam complaint", "confirmed")).message


def test_a_broken_line_does_not_stop_the_others() -> None:
    text = (
        "email,name,status\na@x.org,Ann,active\nnobody,Bob,gone\nb@x.org,Smith, Bob,active\n"
        "c@x.org,Cy\nd@x.org,Dora,unsubscribed\n"
    )

    found = read(text)

    assert [line.line for line in found if isinstance(line, Rejection)] == [3, 4, 5]
    assert [line.address for line in found if isinstance(line, Entry)] == ["a@x.org", "d@x.org"]


def test_a_line_cut_before_its_state_is_not_one_without_a_state() -> None:
    *_, last = read("email,name,status\na@x.org,Ann,active\nb@x.org,Bo\n")

    assert isinstance(last, Rejection)
    assert last.reason == "The line ends before the column 'status'."


# The operator's choice


def test_an_ignored_column_is_not_read() -> None:
    text = "email,Kundenstatus,Consent\na@x.org,neu,nein\n"

    assert "'Consent'" in stop(text, Choice(ignored=["kundenstatus"])).message
    assert statuses(text, Choice(ignored=["Kundenstatus", "Consent"])) == [None]


def test_a_column_is_read_under_the_name_that_the_operator_gives() -> None:
    text = of_column("Zustand", "aktiv", "abgemeldet", "")

    assert statuses(text, Choice({"status": "Zustand"})) == ["active", "unsubscribed", None]


def test_yes_and_no_of_a_chosen_status_column_depend_on_its_name() -> None:
    text = of_column("Austritt laut Newsletter", "ja", "nein")

    stop(text, Choice({"status": "Austritt laut Newsletter"}))
    assert statuses(text, Choice({"unsubscribed": "Austritt laut Newsletter"})) == [
        "unsubscribed",
        None,
    ]


def test_a_status_that_is_called_an_opt_out_is_read_as_one() -> None:
    assert statuses(of_column("opt_out", "1", "0"), Choice({"status": "opt_out"})) == [
        "unsubscribed",
        None,
    ]


def test_a_column_of_the_address_can_be_named() -> None:
    text = "Kontakt;Name\nann@x.org;Ann\n"

    assert [e.address for e in read(text, Choice({"address": "Kontakt"}))] == ["ann@x.org"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice({"status": "nowhere"}), "There is no column 'nowhere'"),
        (Choice(ignored=["nowhere"]), "There is no column 'nowhere'"),
        (Choice({"colour": "name"}), "'colour' is nothing"),
        (Choice(ignored=["email"]), "'email' is the column of the address"),
    ],
)
def test_a_choice_that_fits_no_column_is_refused(choice: Choice, message: str) -> None:
    assert message in stop("email,name\na@x.org,Ann\n", choice).message


# Files without a header


def test_states_without_a_header_are_recognised_by_their_cells() -> None:
    assert statuses("a@x.org,BOUNCE\nb@x.org, COMPLAINT\n") == ["suppressed", "suppressed"]
    assert statuses("a@x.org,Ann,active\nb@x.org,Bo,unsubscribed\n") == ["active", "unsubscribed"]


def test_yes_and_no_without_a_header_stop_the_import() -> None:
    error = stop("Ann,ann@x.org,1\nBob,bob@x.org,0\n")

    assert "'column 3'" in error.message
    rows = "Ann,ann@x.org,1\nBob,bob@x.org,0\n"
    said = Choice(columns={"subscribed": "3"})
    assert statuses(rows, said) == [Status.ACTIVE, Status.UNSUBSCRIBED]
    assert statuses(rows, Choice(ignored=["3"])) == [None, None]


def test_unknown_states_without_a_header_stop_the_import() -> None:
    text = "a@x.org,Ann,active\nb@x.org,Bo,unsubscribed\nc@x.org,Cy,gone\n"

    assert "'column 3'" in stop(text).message
    assert statuses(text, Choice(ignored=["3"])) == [None, None, None]


def test_a_name_of_a_column_is_printed_without_control_characters() -> None:
    error = stop("email,\x1b]0;evil\x07 status\na@x.org,x\n")

    assert "\x1b" not in error.message + str(error.hint)


def test_a_thousand_unknown_columns_have_a_short_error() -> None:
    error = stop(
        "email," + ",".join(f"status {n}" for n in range(1_000)) + "\na@x.org" + ",x" * 1_000
    )

    assert "and 990 more" in error.message
    assert len(error.message) < 1_000


# Any file


NAMES = st.sampled_from(
    ["status", "state", "Type", "opt_out", "subscribed", "confirmed", "bounced", "Abo", "tags",
     "Kundenstatus", "unsubscribed_at", "created_at", "confirmed_at", "reason", "first_name",
     "active", "email_disabled", "global status", "uuid", "attributes"]
)  # fmt: skip
CELLS = st.sampled_from(
    [*sorted(states.WORDS), "", "1", "0", "true", "no", "-1", "!active", "2024-01-05", "gone", "x"]
) | st.text(max_size=6)


@settings(deadline=None)
@given(
    st.lists(NAMES, min_size=1, max_size=4, unique=True).flatmap(
        lambda names: st.tuples(
            st.just(names),
            st.lists(st.tuples(*[CELLS] * len(names)), min_size=1, max_size=6),
        )
    )
)
def test_no_file_makes_a_reader_active_without_an_active_state(
    table: tuple[list[str], list[tuple[str, ...]]],
) -> None:
    names, rows = table
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["email", *names])
    for number, row in enumerate(rows):
        writer.writerow([f"reader{number}@x.org", *row])
    try:
        found = read(written.getvalue())
    except InvalidInput as error:
        is_clear(error)
        return
    bad = states.TELLING | {"-1", "!active", "gone"}
    for line in found:
        if isinstance(line, Entry) and line.status in {Status.ACTIVE, None}:
            row = rows[int(line.address[6:].partition("@")[0])]
            for name, cell in zip(names, row, strict=True):
                if name in {"status", "state", "Type", "opt_out", "subscribed", "confirmed"}:
                    assert cell.strip().casefold() not in bad, (name, cell)


@settings(deadline=None)
@given(st.text(max_size=300) | st.text('email,status\n"aactive;@x.org\t=', max_size=300))
def test_any_text_gives_entries_rejections_or_an_error(text: str) -> None:
    try:
        for line in read(text):
            assert isinstance(line, Entry | Rejection)
    except InvalidInput as error:
        is_clear(error)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_give_entries_rejections_or_an_error(octets: bytes) -> None:
    try:
        survey = csv_rows.survey(io.BytesIO(octets))
        text = csv_rows.decode(io.BytesIO(octets), survey.encoding)
        list(csv_rows.read(text, survey, now=NOW))
    except InvalidInput as error:
        is_clear(error)


# Files with more, or less, than one table


@pytest.mark.parametrize(
    "text",
    [
        "Contacts of 2026\nemail,status\nleft@x.org,unsubscribed\n",
        "Contacts of 2026\n\nemail;status\nleft@x.org;unsubscribed\n",
        "email,name\nr1@x.org,Ann\nemail,status\nleft@x.org,unsubscribed\n",
        "email,status,name\nr1@x.org,active,Ann\nemail,name,status\nleft@x.org,active,unsubscribed\n",
        "email,name\nr1@x.org,Ann\nname,email,opt_out\nBob,left@x.org,1\n",
        "r1@x.org,Ann\nemail,status\nleft@x.org,0\n",
        *(
            "email,first,last\n"
            + "".join(f"r{n}@x.org,F{n},L{n}\n" for n in range(200))
            + f"Email,{name},Last\nleft@x.org,{cell},L\n"
            for name, cell in (("Status", "unsubscribed"), ("opt out", "1"))
        ),
    ],
)
def test_a_second_header_of_other_columns_stops_the_import(text: str) -> None:
    error = stop(text)

    assert "names other columns" in error.message
    is_clear(error)


def test_a_repeated_header_in_a_merged_file_loses_no_reader() -> None:
    text = "email,status\na@x.org,active\nEmail,Status\nleft@x.org,unsubscribed\n"

    assert statuses(text) == [Status.ACTIVE, Status.UNSUBSCRIBED]


@pytest.mark.parametrize(
    "text",
    [
        "email\na@x.org\nleft@x.org,unsubscribed\n",
        "a@x.org\nleft@x.org,1\n",
        "email;name\na@x.org;Ann\nleft@x.org;Bob;unsubscribed\n",
    ],
)
def test_a_line_with_more_cells_than_columns_is_rejected_not_read_in_part(text: str) -> None:
    found = read(text)

    assert [line.address for line in found if isinstance(line, Entry)] == ["a@x.org"]
    assert len(found) == 2


@pytest.mark.parametrize("flaw", ["\0", "x" * 70_000])
def test_a_header_that_cannot_be_read_stops_the_import(flaw: str) -> None:
    error = stop(f"email,opt_out,{flaw}\nleft@x.org,1,\n")

    assert "line 1" in error.message
    is_clear(error)


def test_a_header_may_have_several_lines() -> None:
    text = 'email,"opt\nout","a ""note"""\nleft@x.org,1,\nr@x.org,0,\n'

    assert statuses(text) == [Status.UNSUBSCRIBED, None]


def test_a_bar_may_delimit_the_columns_of_a_header() -> None:
    assert statuses("status|email\nunsubscribed|left@x.org\n") == [Status.UNSUBSCRIBED]


# Spellings


@pytest.mark.parametrize("name", ["désabonné", "gelöscht", "o\u200bpt_out", "ｂｌｏｃｋｅｄ"])
def test_a_column_is_known_in_any_unicode_form(name: str) -> None:
    for form in ("NFC", "NFD"):
        found = statuses(of_column(unicodedata.normalize(form, name), "oui", "non"))
        assert found[0] in {Status.UNSUBSCRIBED, Status.SUPPRESSED}
        assert found[1] is None


@pytest.mark.parametrize("cell", ["désabonné", "gelöscht", "un\u00adsubscribed", "ｂｏｕｎｃｅｄ"])
def test_a_word_of_a_state_is_known_in_any_unicode_form(cell: str) -> None:
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, cell)
        assert statuses(of_column("status", written))[0] in {Status.UNSUBSCRIBED, Status.SUPPRESSED}
        stop(of_column("info", "", written))


# States in columns of neutral names


@pytest.mark.parametrize(
    "cell",
    [
        "unsubscribed",
        "vip,unsubscribed",
        "vip; Opted-out",
        "Weekly: unsubscribed",
        '{"state": "bounced"}',
    ],
)
@pytest.mark.parametrize("others", [3, 60, 300])
def test_a_word_of_a_state_stops_the_import_among_any_number_of_others(
    cell: str, others: int
) -> None:
    error = stop(of_column("Gruppe", *(f"g{n}" for n in range(others)), cell))

    assert f"{cell!a} (1)" in error.message
    assert len(error.message) < 500


PIECES = [
    "unsubscribed",
    "Opted-out",
    "vip",
    "x",
    "g1",
    "5.1.1",
    "é",
    "y" * 40,
    ",",
    ";",
    "|",
    ": ",
]
CELLS = st.lists(st.sampled_from([*PIECES, " "]), max_size=5).map("".join)


@given(st.lists(CELLS, min_size=1, max_size=4))
def test_a_word_of_a_state_is_found_alike_alone_and_among_others(cells: list[str]) -> None:
    def stops(*more: str) -> bool:
        try:
            read(of_column("Gruppe", *(f"g{n}" for n in range(120)), *more))
        except InvalidInput:
            return True
        return False

    assert stops(*cells) == any(map(stops, cells))


def test_a_word_of_a_state_is_found_after_a_hundred_thousand_empty_cells() -> None:
    stop(of_column("x", *[""] * 100_000, "unsubscribed"))


@pytest.mark.parametrize("cell", ["5.1.1", "4.2.2", "550 5.1.1 No such user", "552-5.2.2 full"])
def test_a_status_code_of_a_mail_server_shows_that_a_column_is_a_state(cell: str) -> None:
    stop(of_column("x", "", cell))


@pytest.mark.parametrize("name", ["Last name", "Notes", "Ort", "Firma"])
def test_names_and_notes_may_have_any_word_in_them(name: str) -> None:
    cells = [*(f"N{n}" for n in range(40)), "Junk", "asked twice, cancelled, called"]

    assert statuses(of_column(name, *cells)) == [None] * len(cells)


@pytest.mark.parametrize(
    "name",
    [
        "Zustimmung",
        "Can email",
        "Subscription",
        "No enviar",
        "Werbesperre",
        "Tilmeldt",
        "Отписан",
        "退订",
        "購読停止",
        "Expired",
        "Robinson",
    ],
)
@pytest.mark.parametrize("cell", ["1", "yes", "ja"])
def test_a_column_of_yes_and_no_that_may_be_a_state_stops_the_import(name: str, cell: str) -> None:
    error = stop(of_column(name, cell, "no"))

    assert "like the state of a reader" in error.message


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("stopped", "yes"),
        ("Stop Time", "01/03/24"),
        ("cancelled_at", "2024-01-05"),
        ("Excluded", "1"),
        ("ausgetragen", "ja"),
        ("geloescht", "1"),
        ("Kuendigungsdatum", "2024-01-05"),
        ("fecha_baja", "2024-01-05"),
        ("consenso", "no"),
        ("Send mail", "no"),
        ("NL", "0"),
        ("error", "No such mailbox"),
    ],
)
def test_a_column_of_an_end_or_a_refusal_stops_the_import(name: str, cell: str) -> None:
    error = stop(of_column(name, cell))

    assert "like the state of a reader" in error.message


@pytest.mark.parametrize(
    ("name", "cell", "status"),
    [
        ("HASOPTEDOUTOFEMAIL", "true", Status.UNSUBSCRIBED),
        ("isunsubscribed", "1", Status.UNSUBSCRIBED),
        ("emailoptout", "Y", Status.UNSUBSCRIBED),
        ("ISDELETED", "true", Status.UNSUBSCRIBED),
        ("isactive", "0", Status.UNSUBSCRIBED),
        ("isblacklisted", "1", Status.SUPPRESSED),
        ("unsubscribedat", "2024-01-05", Status.UNSUBSCRIBED),
        ("EMAILBOUNCEDDATE", "2024-01-05", Status.SUPPRESSED),
        ("isconfirmed", "0", Status.PENDING),
        ("ISDELETED", "false", None),
    ],
)
def test_a_name_that_is_written_as_one_word_is_read_as_its_words(
    name: str, cell: str, status: Status | None
) -> None:
    assert statuses(of_column(name, cell)) == [status]


@pytest.mark.parametrize("name", ["donotsend", "hardbounces", "USERSTATE", "newsletteroptin"])
def test_a_state_written_as_one_word_and_not_known_stops_the_import(name: str) -> None:
    assert repr(name) in stop(of_column(name, "1", "2")).message


@pytest.mark.parametrize(
    ("name", "cell", "cause"),
    [
        ("Suppression Reason", "SPAM_COMPLAINT", Cause.COMPLAINT),
        ("suppression_reason_text", "HardBounce", Cause.BOUNCE),
        ("unsubscribe_reason", "Marked as spam", Cause.COMPLAINT),
        ("unsubscribe_reason", "too many mails", None),
        ("bounce_reason", "subscribed", Cause.BOUNCE),
    ],
)
def test_the_reason_of_an_unsubscribe_may_be_a_stricter_state(
    name: str, cell: str, cause: Cause | None
) -> None:
    [entry] = read(of_column(name, cell))

    assert isinstance(entry, Entry)
    assert entry.cause is cause
    assert entry.status is (Status.SUPPRESSED if cause else Status.UNSUBSCRIBED)


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ("MarkedAsSpam", Status.SUPPRESSED),
        ("NotConfirmed", Status.PENDING),
        ("NEVER_SUBSCRIBED", Status.UNSUBSCRIBED),
        ("OptedOut", Status.UNSUBSCRIBED),
    ],
)
def test_a_word_of_a_state_may_be_written_as_one(cell: str, status: Status) -> None:
    assert statuses(of_column("status", cell)) == [status]


@pytest.mark.parametrize("name", ["confirmed", "subscribed", "opt_in", "is active", "verified"])
def test_an_empty_cell_in_a_column_of_consents_is_pending(name: str) -> None:
    assert statuses(of_column(name, "x", ""))[1] is Status.PENDING


def test_a_choice_applies_to_all_columns_of_its_name() -> None:
    text = "email,stand,stand\nleft@x.org,active,unsubscribed\n"

    assert statuses(text, Choice({"status": "stand"})) == [Status.UNSUBSCRIBED]
    assert statuses(text, Choice(ignored=["stand"])) == [None]
