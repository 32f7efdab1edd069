"""What mails that come back come to, by their octets alone."""

from __future__ import annotations

from unittest.mock import Mock

import damage
import pytest
from bounces import MESSAGE_ID, SAMPLES, SENT, block, report
from bounces import prose as prose_bounce
from hypothesis import given
from hypothesis import strategies as st

from newsletter.feedback import bounce, mime, prose
from newsletter.feedback.reports import Returned
from newsletter.smtp import reply as replies

MAILS = [sample.mail.encode() for sample in SAMPLES.values()]

DIAGNOSTIC = (
    b"From: mailer-daemon@x.example\nContent-Type: multipart/report; boundary=b\n\n--b\n"
    b"Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.c\nAction: failed\n"
    b"Diagnostic-Code: smtp; 550 "
)


def verdicts(found: Returned) -> list[tuple[str, str]]:
    return [(one.recipient, str(one.verdict)) for one in found.reports]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_mail_comes_to(name: str) -> None:
    sample = SAMPLES[name]

    for mail in (sample.mail.encode(), sample.mail.replace("\n", "\r\n").encode()):
        found = bounce.read(mail)
        assert (found.kind, verdicts(found)) == (sample.kind, sample.reports)


@pytest.mark.parametrize("name", [name for name in SAMPLES if SENT in SAMPLES[name].mail])
def test_the_mail_that_came_back_is_known_by_its_message_id(name: str) -> None:
    found = bounce.read(SAMPLES[name].mail.encode())

    assert {one.message_id for one in found.reports} == {MESSAGE_ID}


def test_a_report_says_which_reply_was_given_to_what() -> None:
    (found,) = bounce.read(SAMPLES["postfix: a filter after the body"].mail.encode()).reports

    assert (found.code, found.status, found.phase) == (554, "5.7.1", "body")
    assert found.text == "Message rejected as spam"


def test_the_returned_message_is_never_read() -> None:
    """A digest may quote a reply, another bounce or an address."""
    inner = SAMPLES["postfix: no such user"].mail
    mail = report("It was delivered.", block("delivered", "2.0.0"), sent=inner)

    assert verdicts(bounce.read(mail.encode())) == [("ada@readers.example", "delivered")]


def test_a_report_that_a_gateway_has_wrapped_is_read() -> None:
    inner = SAMPLES["postfix: no such user"].mail
    mail = (
        "From: postmaster@gateway.example\nSubject: Undelivered Mail Returned to Sender\n"
        f'Content-Type: multipart/mixed; boundary="g"\n\n--g\nContent-Type: message/rfc822\n\n'
        f"{inner}\n--g\n\nThis e-mail is confidential.\n--g--\n"
    )

    assert verdicts(bounce.read(mail.encode())) == [("ada@readers.example", "dead")]


def test_work_is_bounded_by_parts_depth_and_octets() -> None:
    wide = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 10_000
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(5_000)
    )
    many = report("", "\n\n".join(block("failed", "5.1.1", "", f"a{n}@b.ex") for n in range(3_000)))

    same = report("", "\n\n".join(block("failed", "5.1.1") for _ in range(3_000)))

    assert len(bounce.read(same.encode()).reports) == 1
    assert len(mime.read(wide)[1]) == mime.MAXIMUM_PARTS
    assert len(mime.read(deep)[1]) == 1
    assert sum(len(p.body) for p in mime.read(b"\n\n" + b"x" * 3_000_000)[1]) < 1_100_000
    assert len(bounce.read(many.encode()).reports) <= prose.MAXIMUM_RECIPIENTS


@given(st.binary(max_size=600), st.sampled_from(MAILS), st.integers(0, 3_000))
def test_any_octets_come_to_something(octets: bytes, mail: bytes, at: int) -> None:
    damage.check(octets)
    damage.check(mail[:at] + octets + mail[at:])


@given(
    st.sampled_from(MAILS),
    st.lists(
        st.tuples(st.integers(0, 2_000), st.integers(0, 80), st.sampled_from(damage.FRAGMENTS)),
        max_size=6,
    ),
)
def test_a_mail_with_pieces_of_others_comes_to_something(
    mail: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    for at, length, piece in edits:
        mail = mail[:at] + piece + mail[at + length :]

    damage.check(mail)


@pytest.mark.parametrize("many", [2_000, pytest.param(100_000, marks=pytest.mark.torture)])
def test_a_damaged_mail_comes_to_something_of_its_own(many: int) -> None:
    for mail in damage.damaged(MAILS, many, seed=20):
        damage.check(mail)


@pytest.mark.parametrize(
    "piece",
    [
        b"user ", b"mailbox x ", b"a@b.c ", b"<", b"550 ", b"\n550-", b"\n \n", b"-" * 50 + b"\n",
        b"after ", b"check user unknown ", b"sender address ", b"if ", b"x" * 60 + b"@", b"<br>",
        b"Final-Recipient: rfc822; a@b.c\n\n", b"(expanded from: <a@b.c>) a@b.c\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "head",
    [
        b"From: mailer-daemon@x.example\nSubject: failure notice\n\n<a@b.c>: ",
        DIAGNOSTIC,
        b"From: mailer-daemon@x.example\nSubject: ",
        b"Subject: failure notice\nFrom: ",
        b"Subject: failure notice\nX-Failed-Recipients: ",
    ],
)  # fmt: skip
def test_a_megabyte_in_one_place_is_read_in_bounds(head: bytes, piece: bytes) -> None:
    """A pattern that backtracks would take minutes."""
    found = bounce.read(head + piece * (1_000_000 // len(piece)))

    assert len(found.reports) <= prose.MAXIMUM_RECIPIENTS


def test_out_of_office_is_never_a_bounce_whatever_it_quotes() -> None:
    subjects = (
        "Automatic reply: Mia's Feed", "Réponse automatique : x", "Respuesta automática: x",
        "Autosvar: x", "自动回复: x", "I am out of the office", "Abwesenheitsnotiz: x",
        "Automatische Antwort: x", "Ich bin im Urlaub", "Absence du bureau : x", "En congés",
        "Fuera de la oficina", "Estoy de vacaciones", "Risposta automatica: x", "Fuori ufficio",
        "Resposta automática: x", "Fora do escritório", "Автоответ: x", "Я в отпуске",
        "自動返信: x", "休暇のお知らせ", "本日不在です", "外出中", "자동 회신: x",
        "Autoodpowiedź: x", "Vacation reply", "Auto: Undeliverable mail is what I hate", "OOF: x",
    )  # fmt: skip
    for subject in subjects:
        mail = (
            f"From: Ada <ada@readers.example>\nSubject: {subject}\n\n"
            "550 5.1.1 User unknown: bob@old.example\n"
        )
        assert bounce.read(mail.encode()).kind == "auto"


@pytest.mark.parametrize(
    "text",
    [
        "has not yet been delivered", "wird weiterhin versucht", "konnte noch nicht kommen",
        "n'a pas encore pu être remis", "aún no se ha podido entregar", "non è ancora arrivato",
        "ainda não foi entregue", "ещё не доставлено", "尚未送达", "まだ配信されていません",
        "has been temporarily deferred: it has been deferred",
    ],
)  # fmt: skip
def test_a_delay_is_never_dead_whatever_it_quotes(text: str) -> None:
    mail = prose_bounce(
        f"Your mail {text}.\n\n<ada@readers.example>:\n550 5.1.1 User unknown\n",
        sender="mailer-daemon@mx.example",
        subject="Mail delivery status",
    )

    assert verdicts(bounce.read(mail.encode())) == [("ada@readers.example", "delayed")]


@pytest.mark.parametrize("mark", ["", "Auto-Submitted: auto-replied\n", "Precedence: bulk\n"])
@pytest.mark.parametrize("subject", ["Re: Mia's Feed", "Undeliverable mail of 1912", "Hello"])
@pytest.mark.parametrize("below", ["", "\n\n-----Original Message-----\n" + SENT])
def test_what_a_person_writes_of_an_address_is_never_dead(
    mark: str, subject: str, below: str
) -> None:
    mail = (
        f"From: Ada <ada@readers.example>\nSubject: {subject}\n{mark}\n"
        "Your mail could not be delivered: I left. <ada@old.example>: this address does not exist\n"
        f"any longer, the mailbox has been deleted, no such user.{below}"
    )

    found = bounce.read(mail.encode()).reports

    assert {str(one.verdict) for one in found} <= {"auto", "maybe", "other"}


def test_the_text_is_searched_for_recipients_no_oftener_for_many_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = Mock(wraps=prose.named)
    monkeypatch.setattr(prose, "named", named)
    # Not one of them has an address, and no two are equal.
    blocks = "\n\n".join(block("failed", f"5.0.{n}", who="nobody") for n in range(1, 150))

    bounce.read(report("It could not be delivered to bob@old.example.", blocks).encode())

    assert named.call_count <= 3


def test_no_more_recipients_of_a_header_are_read_than_of_a_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classify = Mock(wraps=replies.classify)
    monkeypatch.setattr(replies, "classify", classify)
    failed = ", ".join(f"reader{n}@readers.example" for n in range(2_000))

    found = bounce.read(
        f"From: mailer-daemon@mx.example\nX-Failed-Recipients: {failed}\n\n550 no".encode()
    )

    assert len(found.reports) == prose.MAXIMUM_RECIPIENTS
    assert classify.call_count == prose.MAXIMUM_RECIPIENTS


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<style>b</style>c", "a c"),
        ("a<STYLE x>b</style>c<script>d</script>e", "a c e"),
        ("a<style>b<script>c</script>d", "ab d"),
        ("a<header>b", "ab"),
        (f"a<style>{'b' * 50_001}</style>c", f"a{'b' * 50_001}c"),
    ],
)
def test_style_sheets_are_no_text(markup: str, text: str) -> None:
    part = mime.Part(mime.Headers(b"Content-Type: text/html"), markup.encode())

    assert part.text == text


def test_the_end_of_a_style_sheet_is_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {name: Mock(wraps=ended) for name, ended in mime._STYLE_ENDS.items()}
    monkeypatch.setattr(mime, "_STYLE_ENDS", ends)
    markup = b"<style><script>" * 5_000

    mime.Part(mime.Headers(b"Content-Type: text/html"), markup).text  # noqa: B018 - a property

    assert [ended.search.call_count for ended in ends.values()] == [1, 1, 0]
