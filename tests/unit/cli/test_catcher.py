"""The mail catcher leaves nothing open, and refuses whom it is told to."""

from __future__ import annotations

import gc
import smtplib
import socket
import warnings
from pathlib import Path

import pytest

from newsletter.cli import catcher


@pytest.mark.parametrize("clients", [0, 1, 3])
def test_a_connection_of_the_last_moment_is_closed(tmp_path: Path, clients: int) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(10):
            with catcher.running(tmp_path) as running:
                place = ("127.0.0.1", running.port)
                opened = [socket.create_connection(place) for _ in range(clients)]
            for one in opened:
                one.close()
        gc.collect()

    assert [str(one.message) for one in said if one.category is ResourceWarning] == []


def test_a_recipient_is_refused_by_the_reply_that_is_given(tmp_path: Path) -> None:
    def refusal(address: str) -> str | None:
        return "550 5.1.1 Nobody" if address.startswith("gone") else None

    with (
        catcher.running(tmp_path, refusal=refusal) as running,
        smtplib.SMTP("127.0.0.1", running.port) as client,
    ):
        sent = client.sendmail(
            "a@a.example", ["gone@b.example", "b@b.example"], "Subject: Hello\r\n\r\nHello\r\n"
        )

    assert sent == {"gone@b.example": (550, b"5.1.1 Nobody")}
    assert [one.recipient for one in running.mails] == ["b@b.example"]
