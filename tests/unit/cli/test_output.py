from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.cli import output

HOSTILE = "220 \x1b]0;owned\x07\x1b[2J mail\x9b31m \u202egro.elpmaxe\u2066 \x00\x7f\u2028next"


def acts(text: str) -> list[str]:
    """What a terminal would obey rather than show."""
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return [
        one
        for one in text
        if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(one) in turning
    ]


@given(st.text() | st.text(alphabet="\x00\x07\x1b\x7f\x85\x9b\r\n\t\u202e\u2028a"))
def test_nothing_that_is_printable_acts_on_a_terminal(text: str) -> None:
    assert acts(output.printable(text)) == []


@given(st.text(alphabet="Grüße, 你好 👩‍⚕️ سلام [red]"))
def test_words_stay_as_they_are(text: str) -> None:
    assert output.printable(text) == text


def test_a_greeting_is_shown_with_its_escapes() -> None:
    assert output.printable("220 \x1b[2J mail") == "220 \\x1b[2J mail"


def test_no_way_of_printing_lets_a_server_act(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(f"It said: {HOSTILE}")
    output.warn(f"It said: {HOSTILE}", HOSTILE)
    output.table(["reply"], [[HOSTILE]])
    output.as_json({"reply": HOSTILE})
    output.error(HOSTILE, HOSTILE)

    printed = capsys.readouterr()

    assert acts(printed.out.replace("\n", "")) == []
    assert acts(printed.err.replace("\n", "")) == []
    assert "owned" in printed.out
    assert "owned" in printed.err


def test_json_keeps_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_json({"reply": HOSTILE})

    assert json.loads(capsys.readouterr().out) == {"reply": HOSTILE}


def test_a_warning_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    output.warn("It said: 220 mail\r\nnewsletter: all is well")

    assert capsys.readouterr().err.count("\n") == 1
