"""What mails that came back would come to, shown without settings and without a database."""

from __future__ import annotations

import json
import mailbox
import os
from pathlib import Path

import pytest
from bounces import SAMPLES
from commands import run

pytestmark = pytest.mark.mainly_on("sqlite")

DEAD = SAMPLES["postfix: no such user"].mail
AWAY = SAMPLES["out of office"].mail


def classify(folder: Path, *words: object, stdin: str | None = None) -> tuple[int, str, str]:
    order = ["feedback", "classify", *map(str, words)]
    done = run(order, folder=folder, env={"PATH": os.environ["PATH"]}, stdin=stdin)
    return done.code, done.out, done.err


def test_mails_mboxes_and_maildirs_are_shown_and_not_changed(tmp_path: Path) -> None:
    one = tmp_path / "one.eml"
    one.write_text(DEAD)
    line = "From a@b Sun Nov 22 12:00:00 2026\n"
    box = tmp_path / "box"
    box.write_text("\n".join(line + mail for mail in (DEAD, AWAY)))
    folder = mailbox.Maildir(tmp_path / "folder", create=True)
    folder.add(AWAY)

    code, out, _ = classify(tmp_path, "--json", one, box, tmp_path / "folder")

    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["kind"] for one in found] == ["bounce", "bounce", "auto", "auto"]
    assert found[0] == {
        "file": str(one),
        "kind": "bounce",
        "reports": [
            {
                "recipient": "ada@readers.example",
                "verdict": "dead",
                "code": 550,
                "status": "5.1.1",
                "phase": "rcpt",
                "text": found[0]["reports"][0]["text"],
                "message_id": "<weekly-1.abc@miasfeed.example>",
            }
        ],
    }
    assert box.read_text().count(line) == 2


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_text(DEAD)

    code, out, err = classify(tmp_path, "nothing.eml", "one.eml")

    assert code == 1
    assert "nothing.eml" in err
    assert "dead" in out


def test_a_mail_on_standard_input_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    mail = DEAD.replace("User unknown", "User unknown \x1b[31m\x9b31m")

    for words in (("-",), ("--json", "-")):
        code, out, _ = classify(tmp_path, *words, stdin=mail)
        assert code == 0
        assert "dead" in out
        assert not {"\x1b", "\x9b"} & set(out)
