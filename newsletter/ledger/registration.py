"""Keeps a process that sends nothing on the roster, so that an upgrade of the database sees it."""

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
    on_trouble: Trouble | None = None,
) -> Iterator[None]:
    """Sign this process in, renew its lease from a thread, and sign it out at the end.

    A database that is away does not end it. If the database was upgraded meanwhile, `on_outdated`
    is called, and SchemaOutOfDate raised at the end.
    """
    name = registry.new_name()
    with registry.liveness_lock(engine, name, on_trouble=on_trouble):
        lease = _Lease(engine, name, kind, on_outdated)
        try:
            lease.begin()
            yield
        finally:
            lease.end()
    if lease.failure is not None:
        raise lease.failure


class _Lease:
    """A row of the roster, and the thread that renews it."""

    def __init__(
        self, engine: Engine, name: str, kind: ProcessKind, on_outdated: Callable[[], object]
    ) -> None:
        self.failure: SchemaOutOfDate | None = None
        self._engine = engine
        self._name = name
        self._kind = kind
        self._on_outdated = on_outdated
        self._presence: Registration | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def begin(self) -> None:
        self._renew()
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        # Where the row cannot be deleted, the lock file says that its process has ended.
        with suppress(NewsletterError):
            if self._presence is not None:
                with sessions.writing(self._engine) as session:
                    registry.sign_out(session, self._presence)
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
                # The next renewal may find the database back.
                continue

    def _renew(self) -> None:
        """Extend the lease; sign in at first, and after somebody has taken us for dead."""
        registration, now = self._presence, utc_now()
        with sessions.writing(self._engine) as session:
            if registration is None or not registry.renew(session, registration, now=now):
                registration = registry.sign_in(session, name=self._name, kind=self._kind, now=now)
        self._presence = registration
