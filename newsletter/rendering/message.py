"""A compiled message: the bytes of one mail with slots in them, filled per reader by a join.

Compiling happens once per mailing; filling happens millions of times and must stay a plain join.
The bytes are what SMTP's DATA carries, without the closing dot: CRLF, 7-bit, no line over 998
octets, and no line that begins with a dot, so no dot-stuffing is needed.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from newsletter.errors import RenderError
from newsletter.rendering import headers, quoted_printable
from newsletter.rendering.headers import Mailbox


class Slot(StrEnum):
    """A value that differs from reader to reader."""

    ADDRESS = "address"
    MESSAGE_ID = "message_id"
    DATE = "date"
    SINCE = "since"
    UNSUBSCRIBE = "unsubscribe"
    MANAGE = "manage"
    CONFIRM = "confirm"
    ERASE = "erase"
    DATA = "data"
    NEW_ADDRESS = "new_address"


class Place(StrEnum):
    """The part of the message that a slot is in, which decides how its value is escaped."""

    HEADER = "header"
    TEXT = "text"
    HTML = "html"


@dataclass(frozen=True, eq=False)
class Field:
    """One slot in one place; a value per field is what a message is filled with."""

    slot: Slot
    place: Place
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Cached: hashing two enums for every lookup would be most of the cost of a fill.
        object.__setattr__(self, "_hash", hash((self.slot.value, self.place.value)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Field):
            return NotImplemented
        return self.slot is other.slot and self.place is other.place


@dataclass(frozen=True)
class CompiledMessage:
    """One mail for everybody: literal bytes and, between them, fields."""

    subject: str
    pieces: tuple[bytes | Field, ...]

    @cached_property
    def size(self) -> int:
        """The octets of the literal pieces."""
        return sum(len(piece) for piece in self.pieces if isinstance(piece, bytes))

    @cached_property
    def _at(self) -> tuple[int, ...]:
        return tuple(i for i, piece in enumerate(self.pieces) if isinstance(piece, Field))

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The slots that need values, in the order of their positions."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Field))

    @cached_property
    def _first(self) -> dict[Slot, int]:
        return {field.slot: at for at, field in reversed([*enumerate(self.fields)])}

    def fill(self, values: Sequence[bytes]) -> bytes:
        """Join the message for one reader: a value for each of `fields`."""
        parts: list[bytes] = list(self.pieces)  # type: ignore[arg-type]  # the holes are filled next
        for index, value in zip(self._at, values, strict=True):
            parts[index] = value
        return b"".join(parts)

    def value_of(self, slot: Slot, values: Sequence[bytes]) -> bytes:
        """Return the value of the first field of a slot; empty if there is none."""
        at = self._first.get(slot)
        return b"" if at is None else values[at]

    def dump(self) -> tuple[bytes, str]:
        """Return the literal bytes joined, and JSON of [[offset, slot, place], ...]."""
        offset, found = 0, []
        for piece in self.pieces:
            if isinstance(piece, Field):
                found.append([offset, piece.slot.value, piece.place.value])
            else:
                offset += len(piece)
        body = b"".join(piece for piece in self.pieces if isinstance(piece, bytes))
        return body, json.dumps(found, separators=(",", ":"))

    @classmethod
    def load(cls, subject: str, body: bytes, fields: str) -> CompiledMessage:
        """Rebuild what `dump` returned."""
        pieces: list[bytes | Field] = []
        start = 0
        for offset, slot, place in json.loads(fields):
            if offset > start:
                pieces.append(body[start:offset])
            pieces.append(Field(Slot(slot), Place(place)))
            start = offset
        if start < len(body):
            pieces.append(body[start:])
        return cls(subject, tuple(pieces))


#: A value that reads the same in a header, in quoted-printable text and in HTML: a token, or most
#: addresses.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.@+-]{0,73}")


def is_plain(slot_value: str) -> bool:
    """Return whether a value is written the same in every place."""
    return _PLAIN.fullmatch(slot_value) is not None


def encode(slot_value: str, place: Place) -> bytes:
    """Escape a slot's value for where it stands, safe on a line of its own, lines of at most 76."""
    if is_plain(slot_value):
        return slot_value.encode("ascii")
    if place is Place.HEADER:
        headers.refuse_controls(slot_value, where="A header")
        return headers.refuse_encoded_words(slot_value, where="A header").encode("utf-8")
    escaped = html.escape(slot_value) if place is Place.HTML else slot_value
    return quoted_printable.encode(_octets(escaped))


class Markers:
    """The placeholders of slots while a mailing is rendered.

    The nonce is random and new for every compile, so no article can contain one of them.
    """

    def __init__(self, nonce: str) -> None:
        if not re.fullmatch(r"[a-z0-9]{16,40}", nonce):
            raise ValueError("A nonce has 16 to 40 characters of a-z and 0-9.")
        self.nonce = nonce
        self._slots = {self.of(slot): slot for slot in Slot}
        self._pattern = re.compile("|".join(self._slots))

    def of(self, slot: Slot) -> str:
        """Return the marker of `slot`: letters and digits only, so no escaping changes it."""
        return f"q{self.nonce}{slot.value.replace('_', '')}q"

    def split(self, text: str) -> Iterator[str | Slot]:
        """Yield text and slots in turn; the first and the last are text, possibly empty."""
        start = 0
        for found in self._pattern.finditer(text):
            yield text[start : found.start()]
            yield self._slots[found.group()]
            start = found.end()
        yield text[start:]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What the header of one mailing says; every value may be as the operator typed it."""

    sender: str
    subject: str
    reply_to: str | None = None
    list_id: str | None = None
    list_name: str = ""
    #: RFC 8058: the HTTPS address of one-click unsubscription; letters have none.
    unsubscribe: str | None = None
    unsubscribe_mailto: str | None = None
    feedback_id: str | None = None
    #: See `Brand.event_headers`.
    event_headers: tuple[tuple[str, str], ...] = ()
    is_bulk: bool = True


def assemble(heading: Heading, *, text: str, html: str, markers: Markers) -> CompiledMessage:
    """Build the MIME message of `heading` and both bodies, and split it at the markers."""
    boundary = f"=_{markers.nonce}"  # "=_" cannot occur in quoted-printable
    pieces: list[bytes | Field] = []
    for line in _header_lines(heading, boundary, markers):
        pieces.extend(_split_header(line, markers))
    pieces.append(b"\r\n" + _opening(boundary, "text/plain"))
    pieces.extend(_split_body(text, Place.TEXT, markers))
    pieces.append(b"\r\n" + _opening(boundary, "text/html"))
    pieces.extend(_split_body(html, Place.HTML, markers))
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return CompiledMessage(heading.subject, tuple(_merge(pieces)))


def body_size(html: str, markers: Markers) -> int:
    """Return the octets that `html` takes on the wire, with slots of the longest usual length."""
    pieces = _split_body(html, Place.HTML, markers)
    return sum(len(piece) if isinstance(piece, bytes) else 80 for piece in pieces)


def _header_lines(heading: Heading, boundary: str, markers: Markers) -> Iterator[bytes]:
    if markers.nonce in heading.subject:
        raise RenderError("A subject cannot contain a slot.")
    yield headers.mailbox("From", Mailbox.parse(heading.sender))
    yield headers.verbatim("To", markers.of(Slot.ADDRESS))
    if heading.reply_to:
        yield headers.mailbox("Reply-To", Mailbox.parse(heading.reply_to))
    yield headers.unstructured("Subject", heading.subject)
    yield headers.verbatim("Date", markers.of(Slot.DATE))
    yield headers.verbatim("Message-ID", f"<{markers.of(Slot.MESSAGE_ID)}>")
    for name, value in heading.event_headers:
        yield headers.verbatim(name, value % markers.of(Slot.MESSAGE_ID))
    yield from _list_lines(heading)
    yield headers.verbatim("Auto-Submitted", "auto-generated")
    if heading.is_bulk:
        yield headers.verbatim("Precedence", "bulk")
    yield headers.verbatim("MIME-Version", "1.0")
    yield b"Content-Type: multipart/alternative;\r\n"
    yield f' boundary="{boundary}"\r\n'.encode("ascii")


def _list_lines(heading: Heading) -> Iterator[bytes]:
    if heading.unsubscribe:
        yield _unsubscribe_line(heading.unsubscribe, heading.unsubscribe_mailto)
        yield headers.verbatim("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    if heading.list_id:
        phrase = headers.quoted_phrase(heading.list_name)
        name = f"{phrase} " if phrase else ""
        yield headers.verbatim("List-Id", f"{name}<{heading.list_id}>")
    if heading.feedback_id:
        yield headers.verbatim("Feedback-ID", heading.feedback_id)


def _unsubscribe_line(url: str, mailto: str | None) -> bytes:
    """RFC 8058 §3.1: one HTTPS address, first; folded only between the two."""
    if re.search(r"[\s<>,]", url + (mailto or "")):
        raise RenderError("An unsubscribe link must not contain blanks, commas or brackets.")
    line = headers.verbatim("List-Unsubscribe", f"<{url}>")
    if not mailto:
        return line
    second = headers.verbatim("List-Unsubscribe", f"<{mailto}>").partition(b": ")[2]
    return line.removesuffix(b"\r\n") + b",\r\n " + second


def _opening(boundary: str, content_type: str) -> bytes:
    return (
        f"--{boundary}\r\n"
        f"Content-Type: {content_type}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode("ascii")


def _split_header(line: bytes, markers: Markers) -> Iterator[bytes | Field]:
    for part in markers.split(line.decode("ascii")):
        yield Field(part, Place.HEADER) if isinstance(part, Slot) else part.encode("ascii")


def _split_body(text: str, place: Place, markers: Markers) -> list[bytes | Field]:
    """Encode a body with every slot on a line of its own, between soft breaks."""
    pieces: list[bytes | Field] = []
    follows_slot = False
    for part in markers.split(text.replace("\r\n", "\n")):
        if isinstance(part, Slot):
            pieces.append(Field(part, place))
            follows_slot = True
            continue
        encoded = quoted_printable.encode(_octets(part))
        pieces.append(quoted_printable.SOFT_BREAK + encoded if follows_slot else encoded)
    return _break_before_slots(pieces)


def _octets(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise RenderError(f"U+{ord(text[exc.start]):04X} is no character of a text.") from exc


def _break_before_slots(pieces: list[bytes | Field]) -> list[bytes | Field]:
    result: list[bytes | Field] = []
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        needs_break = isinstance(following, Field) and isinstance(piece, bytes)
        if needs_break and piece and not piece.endswith(b"\r\n"):  # type: ignore[union-attr]
            result.append(piece + quoted_printable.SOFT_BREAK)  # type: ignore[operator]
        else:
            result.append(piece)
    return result


def _merge(pieces: list[bytes | Field]) -> Iterator[bytes | Field]:
    """Join neighbouring bytes, so that a fill touches as few pieces as there are slots."""
    literal: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            literal.append(piece)
            continue
        if literal:
            yield b"".join(literal)
            literal = []
        yield piece
    if literal:
        yield b"".join(literal)
