"""The worker, against a real mail server on loopback: what arrives, and what the books say."""

from __future__ import annotations

import ledgers
from scripted_smtp import ScriptedServer, running
from sqlalchemy import Engine

from newsletter.delivery import worker


def test_every_reader_gets_one_message_and_the_books_say_so(engine: Engine) -> None:
    ledgers.fill(engine, 100)

    with running(ScriptedServer()) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=4))

    assert sorted(server.recipients()) == sorted(f"reader{n}@example.com" for n in range(1, 101))
    assert len({arrival.message_id for arrival in server.arrivals}) == 100
    assert ledgers.states(engine) == {"accepted": 100}
    assert tally.counts == {"accepted": 100}
    assert server.connections <= 4
