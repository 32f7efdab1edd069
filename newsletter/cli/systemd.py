"""Notifies systemd of a service's state (sd_notify(3)): ready, at work, stopping.

The unit needs Type=notify, and for WATCHDOG=1 also WatchdogSec; without them nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

#: The minimum of WatchdogSec: an idle worker commits every 30 s, and also waits so long after an
#: error of the mail server.
LEAST_SECONDS = 120.0
#: The interval of notifications is this part of WatchdogSec, as commits are only milliseconds
#: apart.
_PART = 8
#: How long systemd's queue may be full before a notification is dropped.
_PATIENCE_SECONDS = 1.0
_LONGEST = 200


class Service:
    """This process as a service of systemd; without systemd, every method does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._socket = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_seconds = _watchdog_seconds(environment) if self._socket else 0.0
        self._next_at = 0.0
        self._status = ""

    def ready(self, status: str) -> None:
        """Notify systemd that the service has started."""
        lines = ["READY=1", f"STATUS={_line(status)}"]
        if 0 < self._watchdog_seconds < LEAST_SECONDS:
            self._watchdog_seconds = LEAST_SECONDS
            lines.append(f"WATCHDOG_USEC={LEAST_SECONDS * 1e6:.0f}")
        self._notify(*lines)

    def status(self, text: str) -> None:
        """Set the text that `systemctl status` shows."""
        if text != self._status:
            self._status = text
            self._notify(f"STATUS={_line(text)}")

    def progressed(self) -> None:
        """Notify systemd that work was committed; otherwise its watchdog ends the service.

        Called from one thread, as often as there is progress.
        """
        now = time.monotonic()
        if self._watchdog_seconds and now >= self._next_at:
            self._next_at = now + self._watchdog_seconds / _PART
            self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        """Notify systemd that the service is ending."""
        self._notify("STOPPING=1")

    def _notify(self, *lines: str) -> None:
        # An abstract socket has a null byte where systemd writes @ (unix(7)).
        if self._socket[:1] not in {"/", "@"}:
            return
        address = self._socket.replace("@", "\0", 1) if self._socket[0] == "@" else self._socket
        # Errors are ignored, because the service also works without systemd.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
            found.settimeout(_PATIENCE_SECONDS)
            found.sendto("\n".join(lines).encode(), address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Return how long systemd waits for progress of this process; 0 without a watchdog."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    with suppress(ValueError):
        return max(int(environment.get("WATCHDOG_USEC", "0")), 0) / 1e6
    return 0.0


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
