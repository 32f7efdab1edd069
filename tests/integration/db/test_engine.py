"""A database's URL, before anything is connected."""

from __future__ import annotations

import pytest

from newsletter.db import engine as engines
from newsletter.errors import ConfigurationError


def test_an_option_that_postgresql_does_not_have_is_named_and_its_value_is_not() -> None:
    with pytest.raises(ConfigurationError, match="'sslmod'") as raised:
        engines.open("postgresql://u:p@127.0.0.1/n?sslmod=s3cret&connect_timeout=1")

    assert "s3cret" not in str(raised.value)
    engines.open("postgresql://u:p@127.0.0.1/n?sslmode=require&connect_timeout=1").dispose()
