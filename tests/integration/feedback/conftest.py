"""A Dovecot for all tests of a file, with a mailbox that each finds empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from dovecot import Dovecot, dovecot


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody trusts."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority, as an operator does."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.fixture(scope="module")
def shared(authority: trustme.CA) -> Iterator[Dovecot]:
    """A server, with what the tests before have left in its mailbox."""
    with dovecot(authority) as running:
        yield running


@pytest.fixture
def box(shared: Dovecot, trusted: None) -> Dovecot:
    """The server with an empty mailbox, and trust in its certificate."""
    shared.empty()
    return shared
