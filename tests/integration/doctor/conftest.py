"""A certificate authority that this process trusts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme


@pytest.fixture(scope="session")
def _made() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def authority(_made: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that is trusted, as an operator has one trusted: by SSL_CERT_FILE."""
    store = tmp_path / "authority.pem"
    _made.cert_pem.write_to_path(str(store))
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    return _made
