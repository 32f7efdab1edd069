"""Every fault that Postfix's smtp-sink can play: nobody is lost, nobody is blamed for a server."""

from __future__ import annotations

import ledgers
import pytest
from journey import sinking
from sqlalchemy import Engine

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.sender import worker

#: More than the worker's patience with a server that takes none of them.
READERS = 40


@pytest.mark.parametrize(
    ("options", "state", "error"),
    [
        # Hard: "500 5.3.0 command failed" is about us, so the run stops.
        ("-f mail", "queued", ConfigurationError),
        ("-f rcpt", "queued", ConfigurationError),
        ("-f data", "queued", ConfigurationError),
        ("-f .", "queued", ConfigurationError),
        # Soft: before a reader is named it is about the connection, from then on about them.
        ("-r mail", "queued", TransportUnavailable),
        ("-r rcpt", "deferred", None),
        ("-r data", "deferred", None),
        ("-r .", "deferred", None),
        # Gone without a word: uncertain only after the final dot.
        ("-q connect", "queued", TransportUnavailable),
        ("-q ehlo", "queued", TransportUnavailable),
        ("-f ehlo", "accepted", None),
        ("-q mail", "queued", TransportUnavailable),
        ("-q rcpt", "queued", TransportUnavailable),
        ("-q data", "queued", TransportUnavailable),
        ("-q .", "deferred queued", TransportUnavailable),
        # Gone with 421: the reply says that it was not taken.
        ("-Q connect", "queued", TransportUnavailable),
        ("-Q mail", "queued", TransportUnavailable),
        ("-Q rcpt", "queued", TransportUnavailable),
        ("-Q data", "queued", TransportUnavailable),
        ("-Q .", "queued", TransportUnavailable),
        # Faults that do no harm, and servers that know less.
        ("-f rset", "accepted", None),
        ("-q quit", "accepted", None),
        ("-p", "accepted", None),
        ("-8", "accepted", None),
        ("-e", "accepted", None),
        ("-T 512", "accepted", None),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_server_with_faults_loses_nobody(
    sqlite_engine: Engine, options: str, state: str, error: type[NewsletterError] | None
) -> None:
    ledgers.fill(sqlite_engine, READERS)

    with sinking(*options.split()) as port:
        if error is None:
            worker.run(sqlite_engine, ledgers.plan(port))
        else:
            with pytest.raises(error):
                worker.run(sqlite_engine, ledgers.plan(port))

    states = ledgers.states(sqlite_engine)
    assert states.total() == READERS
    assert set(states) <= set(state.split())
