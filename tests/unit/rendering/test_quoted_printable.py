from __future__ import annotations

import quopri

from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.rendering import quoted_printable

BODIES = st.lists(st.text(max_size=200)).map("\r\n".join).map(lambda text: text.encode("utf-8"))


@given(st.binary(max_size=600).filter(lambda data: b"\r" not in data))
@example(b". \n..\n.\n \nFrom me\n" + b"=" * 80)
def test_any_bytes_come_back_with_their_line_ends_made_crlf(data: bytes) -> None:
    encoded = quoted_printable.encode(data)

    assert quopri.decodestring(encoded) == data.replace(b"\n", b"\r\n")


@given(st.binary(max_size=600))
def test_trap_4_lines_are_short_and_seven_bit(data: bytes) -> None:
    lines = quoted_printable.encode(data).split(b"\r\n")

    assert all(len(line) <= 76 for line in lines)
    assert all(line.isascii() and not line.endswith((b" ", b"\t")) for line in lines)


@given(st.lists(st.sampled_from([b".", b"a", b"\n", b"From ", b"=", b"\xc3", b" "])).map(b"".join))
def test_no_line_begins_with_a_dot_or_with_from(data: bytes) -> None:
    lines = quoted_printable.encode(data).split(b"\r\n")

    assert not any(line.startswith((b".", b"From ")) for line in lines)
