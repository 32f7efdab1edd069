"""The previous look at what is being sent, from which the rate is calculated."""

from __future__ import annotations

import threading
from collections import deque
from datetime import timedelta

from newsletter.editions.under_way import Look

#: Time between two looks from which a rate is calculated; a longer one would lag behind.
_APART, _OLDEST = timedelta(seconds=2), timedelta(seconds=60)


class Progress:
    """The looks of the last minute, of all requests of this process."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque(maxlen=32)
        self._lock = threading.Lock()

    def before(self, look: Look) -> Look | None:
        """Return a look some seconds before this one, and remember this one; None without one."""
        with self._lock:
            known = [one for one in self._looks if _APART <= look.at - one.at <= _OLDEST]
            if not self._looks or look.at - self._looks[-1].at >= _APART:
                self._looks.append(look)
        return known[-1] if known else None
