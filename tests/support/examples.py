"""Property tests with slow examples: a few run in `make test`, many in `make torture`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import settings

Test = TypeVar("Test", bound=Callable[..., object])


def examples(few: int, *, many: int, **more: Any) -> Callable[[Test], Test]:
    """Test a property with `few` or `many` examples; `more` are Hypothesis's other settings."""
    number = many if settings.get_current_profile_name() == "torture" else few

    def decorate(test: Test) -> Test:
        marked: Test = pytest.mark.repeated(settings(max_examples=number, **more)(test))
        return marked

    return decorate
