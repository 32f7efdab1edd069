"""A compiled message: the bytes of one mail with slots in them, filled per reader by a join.

A mailing is compiled once, but filled millions of times, so filling must stay a plain join. The
bytes are those sent after SMTP's DATA, without the final dot: CRLF, 7-bit, no line over 998 octets,
and no line that begins with a dot, so that dot-stuffing is not needed.
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
    """One slot in one place; a message is filled with a value for each field."""

    slot: Slot
    place: Place
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Cached, because hashing two enums for every look-up would be most of the cost of a fill.
        object.__setattr__(self, "_hash", hash((self.slot.value, self.place.value)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Field):
            return NotImplemented
        return self.slot is other.slot and self.place is other.place


@dataclass(frozen=True)
class CompiledMessage:
    """A message for all readers: literal bytes, and fields between them."""

    subject: str
    pieces: tuple[bytes | Field, ...]

    @cached_property
    def size(self) -> int:
        """The number of octets of the literal pieces."""
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
        """Return the message for one reader, given a value for each of `fields`."""
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
        """Rebuild a message from the result of `dump`."""
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


#: A value that needs no escape in a header, in quoted-printable text and in HTML: a token, or most
#: addresses.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.@+-]{0,73}")


def is_plain(slot_value: str) -> bool:
    """Return whether a value needs no escape in any place."""
    return _PLAIN.fullmatch(slot_value) is not None


def encode(slot_value: str, place: Place) -> bytes:
    """Escape a slot's value for its place, as lines of at most 76 that are safe on their own."""
    if is_plain(slot_value):
        return slot_value.encode("ascii")
    if place is Place.HEADER:
        headers.refuse_controls(slot_value, where="A header")
        return headers.refuse_encoded_words(slot_value, where="A header").encode("utf-8")
    escaped = html.escape(slot_value) if place is Place.HTML else slot_value
    return quoted_printable.encode(_octets(escaped))


class Markers:
    """The placeholders of slots while a mailing is rendered.

    The nonce is random and new for every mailing, so that no article can contain a marker.
    """

    def __init__(self, nonce: str) -> None:
        if not re.fullmatch(r"[a-z0-9]{16,40}", nonce):
            raise ValueError("A nonce has 16 to 40 characters of a-z and 0-9.")
        self.nonce = nonce
        self._slots = {self.of(slot): slot for slot in Slot}
        self._pattern = re.compile("|".join(self._slots))

    def of(self, slot: Slot) -> str:
        """Return the marker of `slot`, of letters and digits only, so that escaping keeps it."""
        return f"q{self.nonce}{slot.value.replace('_', '')}q"

    def split(self, text: str) -> Iterator[str | Slot]:
        """Yield text and slots alternately; the first and the last are text, possibly empty."""
        start = 0
        for found in self._pattern.finditer(text):
            yield text[start : found.start()]
            yield self._slots[found.group()]
            start = found.end()
        yield text[start:]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The values of a mailing's header fields, not yet validated or encoded."""

    sender: str
    subject: str
    reply_to: str | None = None
    list_id: str | None = None
    list_name: str = ""
    #: The HTTPS URL of one-click unsubscription (RFC 8058); None in a letter without a consent.
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
    """Return the encoded size of `html` in octets, with slots of the longest usual length."""
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
    """Write List-Unsubscribe: one HTTPS URL (RFC 8058 §3.1), folded only before the mailto."""
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
    """Join neighbouring bytes, so that a message has no more pieces than necessary."""
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
