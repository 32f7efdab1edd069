from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from newsletter.errors import InvalidInput
from newsletter.subscribers import csv_rows
from newsletter.subscribers.csv_rows import Entry, Rejection, Survey
from newsletter.subscribers.csv_rows import encoding as encodings

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def read(octets: bytes) -> tuple[Survey, list[Entry | Rejection]]:
    survey = csv_rows.survey(io.BytesIO(octets))
    text = csv_rows.decode(io.BytesIO(octets), survey.encoding)
    return survey, list(csv_rows.read(text, survey, now=NOW))


TEXT = "name;email;status\r\nJörg;joerg@x.org;active\r\nAnn;ann@x.org;unsubscribed\r\n"


@pytest.mark.parametrize(
    "name", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_excels_encodings_are_read(name: str) -> None:
    survey, found = read(TEXT.encode(name))

    assert [(e.address, e.status) for e in found if isinstance(e, Entry)] == [
        ("joerg@x.org", "active"),
        ("ann@x.org", "unsubscribed"),
    ]
    assert (survey.encoding.assumed is None) == name.startswith("utf-8")


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("words", ["Владимир Владимирович Александров", "一二三 不一样", "Jörg"])
def test_utf_16_without_a_byte_order_mark_is_detected_in_any_script(name: str, words: str) -> None:
    text = "email;Имя;status\r\n" + f"ann@x.org;{words};unsubscribed\r\n" * 30

    survey, found = read(text.encode(name))

    assert survey.encoding.name == name
    assert {e.status for e in found if isinstance(e, Entry)} == {"unsubscribed"}


def test_a_stray_nul_is_not_detected_as_utf_16() -> None:
    survey, found = read(b"email\na\0nn@x.org\nbob@x.org\n")

    assert survey.encoding == encodings.UTF_8
    assert [isinstance(one, Entry) for one in found] == [False, True]


def test_lines_of_nuls_make_no_utf_16() -> None:
    survey, found = read(b"email,cadence\n" + 6 * b"e;;;\0\0\0\0\n" + b"ann@x.org,weekly\n")

    assert survey.encoding == encodings.UTF_8
    assert [e.address for e in found if isinstance(e, Entry)] == ["ann@x.org"]


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"PK\x03\x04\x14\0\6\0", "Excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "Excel"),
        (b"\x1f\x8b\x08\0", "gzip"),
    ],
)
def test_a_file_that_is_no_text_is_named(octets: bytes, kind: str) -> None:
    with pytest.raises(InvalidInput, match=kind):
        read(octets + bytes(range(256)))


def test_assumptions_are_reported() -> None:
    survey, _ = read(TEXT.encode("cp1252"))

    assert "Windows-1252" in str(survey.encoding.assumed)


def test_a_word_of_a_state_is_understood_in_windows_1252() -> None:
    _, found = read(
        "email;Statut\nann@x.org;désabonné\n".replace("Statut", "status").encode("cp1252")
    )

    assert [e.status for e in found if isinstance(e, Entry)] == ["unsubscribed"]


def test_a_name_that_cannot_be_decoded_does_not_cost_the_address() -> None:
    octets = "Zoë,zoe@x.org\n".encode() + b"J\xf6rg,joerg@x.org\n" + b"Ann,ann@x.org\n"

    survey, found = read(b"name,email\n" + octets)

    assert [e.address for e in found if isinstance(e, Entry)] == [
        "zoe@x.org",
        "joerg@x.org",
        "ann@x.org",
    ]
    assert "some characters" in str(survey.encoding.assumed)


def test_an_address_in_a_guessed_encoding_is_rejected() -> None:
    _, found = read(b"email\nj\xf6rg@x.org\nann@x.org\n")

    assert isinstance(found[0], Rejection)
    assert "UTF-8" in found[0].reason
    assert isinstance(found[1], Entry)


def test_a_file_cut_in_the_middle_of_a_character_is_read() -> None:
    for name in ("utf-16", "utf-16-le", "utf-8"):
        _, found = read("email\r\nann@x.org\r\nbob@x.org,ö".encode(name)[:-1])
        assert isinstance(found[0], Entry)


def test_utf_8_is_detected_across_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for size in range(1, 9):
        monkeypatch.setattr(encodings, "_BLOCK", size)
        assert encodings.find(io.BytesIO("a,ö\n€,😀\n".encode())) == encodings.UTF_8


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=|", "sep=\t"])
def test_excels_first_line_names_the_delimiter(first: str) -> None:
    delimiter = first.strip('"')[-1]
    text = f"{first}\r\nemail{delimiter}name\r\nanna@reader.example{delimiter}Anna, x\r\n"

    _, found = read(text.encode())

    assert found == [Entry(3, "anna@reader.example")]
