"""Registers a process that does not send, so that a database upgrade waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine

from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.errors import NewsletterError, SchemaOutOfDate
from newsletter.ledger import registry
from newsletter.ledger.registry import Registration, Trouble
from newsletter.models import ProcessKind


@contextmanager
def registered(
    engine: Engine,
    kind: ProcessKind,
    *,
    on_outdated: Callable[[], object],
    on_renewed: Callable[[], object] | None = None,
    on_trouble: Trouble | None = None,
) -> Iterator[None]:
    """Register this process, renew its lease by a heartbeat thread, and deregister at the end.

    An unavailable database is ignored until the next heartbeat. After each committed heartbeat,
    `on_renewed` is called. If the database was upgraded in the meantime, `on_outdated` is called,
    and SchemaOutOfDate is raised at the end.
    """
    name = registry.new_name()
    with registry.liveness_lock(engine, name, on_trouble=on_trouble):
        heartbeat = _Heartbeat(engine, name, kind, on_outdated, on_renewed)
        try:
            heartbeat.begin()
            yield
        finally:
            heartbeat.end()
    if heartbeat.failure is not None:
        raise heartbeat.failure


class _Heartbeat:
    """A row of the registry, and the thread that renews its lease."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        kind: ProcessKind,
        on_outdated: Callable[[], object],
        on_renewed: Callable[[], object] | None,
    ) -> None:
        self.failure: SchemaOutOfDate | None = None
        self._engine = engine
        self._name = name
        self._kind = kind
        self._on_outdated = on_outdated
        self._on_renewed = on_renewed
        self._registration: Registration | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="heartbeat", daemon=True)

    def begin(self) -> None:
        self._renew()
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        # Errors are ignored: if the row cannot be deleted, the released lock file shows that the
        # process has ended.
        with suppress(NewsletterError):
            if self._registration is not None:
                with sessions.writing(self._engine) as session:
                    registry.sign_out(session, self._registration)
            registry.forget(self._engine, [self._name])

    def _keep(self) -> None:
        while not self._ended.wait(registry.RENEWAL.total_seconds()):
            try:
                self._renew()
            except SchemaOutOfDate as exc:
                self.failure = exc
                self._on_outdated()
                return
            except NewsletterError:
                # The next heartbeat retries.
                continue

    def _renew(self) -> None:
        """Extend the lease; register first, and again if another process took over the row."""
        registration, now = self._registration, utc_now()
        with sessions.writing(self._engine) as session:
            if registration is None or not registry.renew(session, registration, now=now):
                registration = registry.sign_in(session, name=self._name, kind=self._kind, now=now)
        self._registration = registration
        if self._on_renewed is not None:
            self._on_renewed()
