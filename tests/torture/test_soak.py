"""One worker at full speed for a long time: nothing grows but the ledger. `make torture`.

MINUTES says for how long (default 1).
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path

import counts
import journey
import ledgers
import pytest
from sqlalchemy import Engine, text

from newsletter.db import session as sessions

pytestmark = pytest.mark.torture

_MINUTES = float(os.environ.get("MINUTES", "1"))
_CONNECTIONS = 50
_LOOK_SECONDS = 2.0
#: Deliveries queued at a time; so many wait at least.
_BATCH = 20_000


def test_a_worker_at_full_speed_leaks_neither_memory_nor_descriptors(
    engine: Engine, tmp_path: Path
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    newsletter = journey.make(tmp_path, url)
    newsletter.env["NEWSLETTER_SMTP_CONNECTIONS"] = str(_CONNECTIONS)
    message = ledgers.compiled(size=25_000)
    with journey.sinking() as port:
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        ledgers.fill(engine, _BATCH, public_id=_name(0), message=message)
        running = newsletter.start("worker")
        process = Path(f"/proc/{running.pid}")
        kilobytes, descriptors, sent, batches = [], [], 0, 1
        end = time.monotonic() + 60 * _MINUTES
        try:
            while time.monotonic() < end:
                time.sleep(_LOOK_SECONDS)
                assert running.poll() is None
                done = _take_away_what_is_done(engine)
                sent += done
                if batches * _BATCH - sent < _BATCH:
                    ledgers.fill(engine, _BATCH, public_id=_name(batches), message=message)
                    batches += 1
                if sent:
                    kilobytes.append(_resident(process))
                    descriptors.append(len(list((process / "fd").iterdir())))
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=60)
        finally:
            running.kill()
        assert running.returncode == 0, out + err

    third = len(kilobytes) // 3
    early, late = statistics.median(kilobytes[:third]), statistics.median(kilobytes[-third:])
    print(
        f"{sent:,} messages in {_MINUTES:g} minutes; resident {early:,.0f} kB, then "
        f"{late:,.0f} kB; descriptors {min(descriptors)} to {max(descriptors)}"
    )
    assert late <= early * 1.05
    # Its connections, the database, its lock, its loop; not one more for each message or batch.
    assert max(descriptors) <= _CONNECTIONS + 30
    assert statistics.median(descriptors[-third:]) <= statistics.median(descriptors[:third]) + 2
    left = ledgers.states(engine)
    assert set(left) <= {"accepted", "queued"}


def _name(batch: int) -> str:
    return f"mailing{batch:09}"


def _take_away_what_is_done(engine: Engine) -> int:
    """Prune the ledger, so that only a leak of the worker shows as growth."""
    with sessions.writing(engine) as session:
        done = session.execute(text("DELETE FROM delivery WHERE state = 'accepted'"))
        counts.recount(session)
        return int(done.rowcount)  # type: ignore[attr-defined]


def _resident(process: Path) -> int:
    """Return the resident set in kB."""
    return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
