from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.cadences import Cadence
from newsletter.errors import InvalidInput
from newsletter.subscribers import csv_rows
from newsletter.subscribers.csv_rows import Choice, Entry, Rejection, records

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def read(text: str | bytes, choice: Choice | None = None) -> list[Entry | Rejection]:
    octets = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    survey = csv_rows.survey(io.BytesIO(octets), choice)
    return list(
        csv_rows.read(csv_rows.decode(io.BytesIO(octets), survey.encoding), survey, now=NOW)
    )


def entries(text: str | bytes) -> list[Entry]:
    return [line for line in read(text) if isinstance(line, Entry)]


def rejections(text: str | bytes) -> list[Rejection]:
    return [line for line in read(text) if isinstance(line, Rejection)]


def addresses(text: str | bytes) -> list[str]:
    return [entry.address for entry in entries(text)]


# Columns


@pytest.mark.parametrize(
    "header",
    [
        "email",
        "address",
        "Email",
        "E-Mail",
        "EMAIL_ADDRESS",
        "Email Address",
        '"email"',
        " e-mail ",
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_a_header_names_the_column_of_the_address(header: str, delimiter: str) -> None:
    text = f"name{delimiter}{header}{delimiter}Cadence\nAnn{delimiter}ann@x.org{delimiter}daily\n"

    assert read(text) == [Entry(2, "ann@x.org", Cadence.DAILY, None, None)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ann@x.org\nbob@x.org\n", [("ann@x.org", None), ("bob@x.org", None)]),
        ("ann@x.org,daily\nbob@x.org,\n", [("ann@x.org", Cadence.DAILY), ("bob@x.org", None)]),
        ("weekly;ann@x.org\n", [("ann@x.org", Cadence.WEEKLY)]),
        ("Ann\tann@x.org\tLee\tmonthly\n", [("ann@x.org", Cadence.MONTHLY)]),
        ("not an address\nann@x.org\n", [("ann@x.org", None)]),
    ],
)
def test_a_file_needs_no_header(text: str, found: list[tuple[str, Cadence | None]]) -> None:
    assert [(entry.address, entry.cadence) for entry in entries(text)] == found


def test_a_file_without_addresses_is_refused_with_a_hint() -> None:
    with pytest.raises(InvalidInput) as raised:
        read("Name,Phone\nAnn,12345\n")

    assert 'Name the column "address"' in str(raised.value.hint)


@pytest.mark.parametrize("text", ["", "\n\n", "email\n", "email,cadence\r\n,\r\n , \r\n"])
def test_an_empty_file_has_no_entries_and_no_rejections(text: str) -> None:
    assert read(text) == []


def test_a_byte_order_mark_is_no_part_of_the_header() -> None:
    assert addresses(b"\xef\xbb\xbfemail\r\nann@x.org\r\n") == ["ann@x.org"]


def test_the_domain_of_an_imported_address_is_written_in_a_labels() -> None:
    assert addresses("email\nJorg@BÜCHER.example\n") == ["jorg@xn--bcher-kva.example"]


def test_an_unknown_cadence_is_rejected() -> None:
    [rejection] = rejections("email,cadence\nann@x.org,hourly\nbob@x.org, Daily \n")

    assert (rejection.line, rejection.reason) == (2, "'hourly' is not a cadence.")


@pytest.mark.parametrize(
    ("cell", "instant"),
    [
        ("2027-01-05", datetime(2027, 1, 5, tzinfo=UTC)),
        ("2027-01-05T01:00:00+01:00", datetime(2027, 1, 5, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_pause_is_read(cell: str, instant: datetime) -> None:
    [entry] = entries(f"email,status,paused_until\nann@x.org,paused,{cell}\n")

    assert entry.paused_until == instant


@pytest.mark.parametrize("cell", ["soon", "0001-01-01T00:00:00+23:59"])
def test_the_end_of_a_pause_that_is_no_date_is_rejected(cell: str) -> None:
    assert len(rejections(f"email,status,paused_until\nann@x.org,paused,{cell}\n")) == 1


# One bad line loses nothing else

BAD_LINES = {
    "no address": b",daily",
    "bad address": b"ann@@x.org,daily",
    "control character": b"an\x07n@x.org,daily",
    "header injection": b"ann@x.org%0d%0aBcc:eve@x.org\x0b,daily",
    "encoded-word": b"=?utf-8?q?ann?=@x.org,daily",
    "NUL": b"ann\x00@x.org,daily",
    "not UTF-8": b"j\xf6rg@x.org,daily",
    "half a character": b"ann@x.org,daily\xc3",
    "over-long": b"a" * 200_000 + b"@x.org,daily",
    "over-long cell": b'"' + b"a" * 200_000 + b'",daily',
    "bad cadence": b"ann@x.org,sometimes",
    "open quotation mark": b'"ann@x.org,daily',
    "quotation mark too many": b'"ann"@x.org,daily',
    "open quotation mark in a cell": b'ann@x.org,"daily',
    "two open quotation marks": b'"ann@x.org,"daily',
    "paragraph separator": "ann\u2029@x.org,daily".encode(),
}


@pytest.mark.parametrize("name", BAD_LINES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_one_bad_line_is_reported_with_its_number_and_loses_nothing_else(
    name: str, end: bytes
) -> None:
    good = [f"reader{number}@x.org,weekly".encode() for number in range(300)]
    lines = [b"email,cadence", *good[:150], BAD_LINES[name], *good[150:]]

    found = read(end.join(lines))

    assert [line.line for line in found if isinstance(line, Rejection)] == [152]
    assert [line.address for line in found if isinstance(line, Entry)] == [
        f"reader{number}@x.org" for number in range(300)
    ]


def test_stray_quotation_marks_do_not_pair_over_valid_lines() -> None:
    text = 'email,cadence\n"ann@x.org,daily\nbob@x.org,daily\n"cy@x.org,daily\ndan@x.org,daily\n'

    assert addresses(text) == ["bob@x.org", "dan@x.org"]
    assert [one.line for one in rejections(text)] == [2, 4]


def test_a_quoted_address_of_several_lines_loses_no_reader() -> None:
    text = 'email,cadence\n"ann@x.org\nbob@x.org,daily\ncy@x.org",daily\ndan@x.org,daily\n'

    assert addresses(text) == ["bob@x.org", "dan@x.org"]


def test_a_reader_after_a_note_of_several_lines_keeps_their_line_number() -> None:
    text = 'email,note\nann@x.org,"one\ntwo\nthree"\nbad\n'

    assert [line.line for line in read(text)] == [2, 5]


def test_an_open_quotation_mark_at_the_end_is_reported() -> None:
    text = 'email,note\nann@x.org,\nbob@x.org,"never closed\n'

    assert addresses(text) == ["ann@x.org"]
    assert [one.line for one in rejections(text)] == [3]


def test_a_rejected_line_can_be_written_to_any_file_and_is_short() -> None:
    for line in BAD_LINES.values():
        [rejection] = rejections(b"email,cadence\n" + line + b"\n")
        rejection.reason.encode()
        assert "\0" not in "".join(rejection.cells)
        assert sum(len(cell) for cell in rejection.cells) <= 300
        assert len(rejection.reason) <= 600


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    lines = (b"email,cadence\n" + octets).replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    found = read(b"email,cadence\n" + octets)

    numbers = [line.line for line in found]
    assert numbers == sorted(set(numbers))
    assert all(2 <= number <= lines.count(b"\n") + 1 for number in numbers)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 50).map(lambda n: f"reader{n}@x.org,weekly"),
            st.text('"a@,;\t \x00é', max_size=12).filter(lambda line: "@" not in line),
        ),
        max_size=30,
    )
)
def test_every_good_line_is_read_whatever_stands_around_it(lines: list[str]) -> None:
    """With cells of one line only: text between two quotation marks may be a cell of several."""
    text = "\n".join(["email,cadence", *(line.replace('"', "") for line in lines)])
    good = [line.partition(",")[0] for line in lines if line.endswith("@x.org,weekly")]

    assert addresses(text) == good


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), max_size=10), st.sampled_from([",", ";", "\t"]))
def test_what_a_spreadsheet_writes_beside_the_address_is_skipped(
    cells: list[tuple[str, str]], delimiter: str
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["before", "email", "after"])
    # A NUL, a lone surrogate or a lone carriage return makes the line invalid.
    kept = [pair for pair in cells if not set("".join(pair)) & {"\0", "\r"}]
    kept = [
        pair for pair in kept if "".join(pair).encode("utf-8", "ignore").decode() == "".join(pair)
    ]
    for number, (before, after) in enumerate(kept):
        writer.writerow([before, f"reader{number}@x.org", after])

    choice = Choice(ignored=("before", "after"))
    found = [line.address for line in read(written.getvalue(), choice) if isinstance(line, Entry)]
    assert found == [f"reader{n}@x.org" for n in range(len(kept))]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["ann@x.org,daily", "bad", "bob@x.org,", '"cy@x.org', "é,"])))
def test_a_file_read_twice_has_the_same_entries(lines: list[str]) -> None:
    once = "\n".join(["email,cadence", *lines, ""])
    twice = once + "\n".join([*lines, ""])

    assert set(addresses(twice)) == set(addresses(once))


def test_a_backslash_before_a_quotation_mark_loses_no_reader() -> None:
    """Some tools write \\" for one; in a cell of several lines it is a backslash."""
    text = (
        'email,note\nann@x.org,"a \\"b\\" c"\nbob@x.org,"O\\"Neil"\n'
        'cy@x.org,"back\\""\nslash"\ndan@x.org,""\n'
    )

    assert addresses(text) == ["ann@x.org", "bob@x.org", "cy@x.org", "dan@x.org"]


def test_a_quotation_mark_in_a_cell_does_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """No further line can close it, so each line is read once, and not a hundred times."""
    taken = []
    take = records._Lines.take
    monkeypatch.setattr(records._Lines, "take", lambda lines: taken.append(1) or take(lines))
    text = "email,note\n" + 'ann@x.org,"a \\"b\\" c"\n' * 300

    read(text)

    assert len(taken) < 700


def test_a_line_that_is_a_quotation_mark_alone_begins_a_cell() -> None:
    assert addresses('note,email\n"\n",ann@x.org\n"",\n" ",""\nb,bob@x.org\n') == [
        "ann@x.org",
        "bob@x.org",
    ]


# Blocks

#: The cells of each column of our own export, good and bad ones.
CELLS = {
    "address": ["ann@example.org", " BO@x.org ", "'=x@example.org", "bü@example.org", "no", ""],
    "cadence": ["daily", " weekly", "WEEKLY", "often", ""],
    "status": ["active", "paused", "Opted-out", "pending", "bounced", ""],
    "subscribed_at": ["2024-05-01 10:00:00", "0", ""],
    "paused_until": ["2027-01-01", "9999-01-01", "soon", ""],
    "created_at": ["2024-05-01T10:00:00+02:00", "-", ""],
    "suppression": ["dead", "complaint", "opt-out", ""],
    "language": ["de_DE", "?", ""],
    "timezone": ["europe/berlin", "Mars", ""],
    "opted_in_at": ["2024-05-01 10:00:00", "2924-05-01", "1.5.2024", ""],
    "opted_in_from": ["192.0.2.1", "2001:DB8::1%eth0", "here", ""],
    "confirmed_at": ["2024-05-01", "1714557600", ""],
    "consent_wording": ["Yes, \tplease", "  "],
}  # fmt: skip
ROWS = st.tuples(
    st.tuples(*map(st.sampled_from, CELLS.values())),
    # Cells that are missing at the end, or too many.
    st.sampled_from([13, 13, 13, 13, 2, 1, 14]),
).map(lambda drawn: [*drawn[0], "more"][: drawn[1]])


@given(st.lists(ROWS, min_size=1, max_size=12))
def test_a_line_is_read_alike_alone_and_among_others(rows: list[list[str]]) -> None:
    lines = [written([list(CELLS)]), *(written([row]) for row in rows)]
    survey = csv_rows.survey(io.BytesIO("".join(lines).encode()))
    among = list(csv_rows.read(io.StringIO("".join(lines)), survey, now=NOW))
    alone = [
        found._replace(line=number)
        for number, line in enumerate(lines[1:], start=2)
        for found in csv_rows.read(io.StringIO(lines[0] + line), survey, now=NOW)
    ]
    assert among == alone


def written(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
