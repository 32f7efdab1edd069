"""`newsletter demo --desk`: from an empty folder to a desk with some history."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2


def test_a_newcomer_sees_the_desk_in_one_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "newsletter", "demo", "--desk", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        lines = iter(running.stdout.readline, "")
        said = next(line for line in lines if "/login/" in line)
        link = re.search(r"http://127\.0\.0\.1:\d+/login/\S+", said)
        assert link is not None
        base = link[0].partition("/login/")[0]
        with httpx2.Client(base_url=base, headers={"Origin": base}, timeout=60) as browser:
            assert browser.post(link[0]).status_code == 303
            today = browser.get("/").text
            delivery = browser.get("/delivery").text
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0

    assert "daily-" in today
    assert "weekly-" in today
    # Three addresses are gone, which the catcher said by real SMTP.
    assert "refused" in delivery
    assert len(list((tmp_path / "demo" / "mails").glob("*.eml"))) > 100
