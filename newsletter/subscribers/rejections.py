"""The lines that an import could not use: counted, the first ones kept, all of them in a file."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

from newsletter.errors import InvalidInput
from newsletter.subscribers import sheet
from newsletter.subscribers.sheet import Rejection

#: How many are kept to be shown; the file has them all.
SHOWN = 10


@dataclass
class Rejections:
    """Takes rejections as they come; the file is made with the first one."""

    file: Path
    count: int = 0
    first: list[Rejection] = field(default_factory=list)
    _stream: TextIO | None = field(default=None, repr=False)
    _writer: Any = field(default=None, repr=False)

    def add(self, rejection: Rejection) -> None:
        """Write one down: line number, reason, and the line as it stands."""
        if self._stream is None:
            self._open()
        self._writer.writerow([rejection.line, rejection.reason, sheet.guard(rejection.text)])
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(rejection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def _open(self) -> None:
        try:
            self._stream = self.file.open("w", encoding="utf-8", newline="")
        except OSError as exc:
            raise InvalidInput(
                f"{self.file} cannot be written: {exc.strerror}.",
                hint="Name a file for the rejected lines with --rejected. "
                "Then import again: what was taken over already stays as it is.",
            ) from exc
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(["line", "reason", "text"])
