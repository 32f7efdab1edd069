"""A note or an announcement: Markdown from the editor, as HTML and as text of 72 columns.

Both are made from the same HTML, cleaned by nh3, so that they have the same content.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from html import escape, unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import nh3
from markupsafe import Markup

from newsletter.errors import InvalidInput
from newsletter.rendering.plaintext import Notes, wrap

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

#: Maximum characters of a note, which introduces an edition and is no article.
LONGEST = 5_000

#: Maximum octets of a note in a mail, of the 100,000 that mailboxes show.
_HEAVIEST = 65_000
#: Approximate octets of the inlined style of one element.
_STYLE = 200
#: Maximum depth to which nested lists and quotations are indented.
_DEEPEST = 6
#: Characters not allowed in a note: controls, line separators, surrogates and bidirectional
#: controls (UAX #9).
_CONTROLS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_STYLES = {
    "p": "text ink",
    "li": "text ink",
    "blockquote": "text muted",
    "h2": "title ink",
    "a": "accent link",
}
_MARGINS = {
    "p": "padding:0 0 12px",
    "h2": "padding:4px 0 8px",
    "ul": "margin:0;padding:0 24px 12px",
    "ol": "margin:0;padding:0 24px 12px",
    "blockquote": "margin:0;padding:0 24px",
}
_TAGS = {*_STYLES, *_MARGINS, "br", "strong", "em", "code"}
#: Elements that begin on a new line.
_BLOCKS = {"p", "h2", "ul", "ol", "li", "blockquote"}
#: A link without an address, because nh3 has removed it.
_LEADS_NOWHERE = re.compile(f'<a class="{_STYLES["a"]}">(.*?)</a>', re.DOTALL)
_ELEMENT = re.compile(r"<[^<>]*>")
_HEADING = re.compile(r"(</?)h[1-6](?=[ >])")
#: A heading with number signs in the first line (CommonMark 0.31, section 4.2).
_FIRST_HEADING = re.compile(r"#{1,6}[ \t]+[^\n]*")


def check(text: str, *, name: str = "note", longest: int = LONGEST) -> str:
    """Return a normalised text: Unix line ends, no blanks around it. `name` is for messages.

    Raises InvalidInput for a text that is empty, too long, too large or has control characters.
    """
    written = text.replace("\r\n", "\n").replace("\t", "    ").strip()
    if len(written) > longest:
        raise InvalidInput(
            f"The {name} is too long: it may have {longest:,} characters.",
            hint="Say it in fewer words, and link to the rest.",
        )
    refuse_controls(written, name=name)
    if not _has_words(written):
        raise InvalidInput(f"The {name} says nothing.", hint="Write a sentence, in Markdown.")
    if _weight(html(written)) > _HEAVIEST:
        raise InvalidInput(
            f"The {name} is too large for a mail: it has too many lists, paragraphs or links.",
            hint="Say it in fewer words, and link to the rest.",
        )
    return written


def refuse_controls(written: str, *, name: str) -> None:
    """Raise InvalidInput for a text with a control character, but for line feeds."""
    if found := _CONTROLS.search(written):
        raise InvalidInput(
            f"The {name} has a control character in it: {found[0]!a}.",
            hint="Leave it out; lines end with a line feed.",
        )


def html(markdown: str) -> Markup:
    """Return a note as HTML for a digest: the layout's classes, http(s) and mailto links."""
    return Markup(_clean(markdown))  # noqa: S704 - nh3 has cleaned it


def parts(markdown: str) -> tuple[str, str]:
    """Return the heading with which a text begins, without markup, and the rest; "" for none."""
    found = _FIRST_HEADING.match(markdown.strip())
    if found is None:
        return "", markdown
    return shown(found[0]), markdown.strip()[found.end() :].strip()


def plain(markdown: str, notes: Notes) -> str:
    """Return a note as text in 72 columns, with its links numbered in `notes`."""
    writer = _Writer(notes)
    writer.feed(_clean(markdown))
    writer.close()
    return writer.text


def shown(markdown: str) -> str:
    """Return the words of a note on one line, without markup and links."""
    return " ".join(unescape(_ELEMENT.sub(" ", _clean(markdown))).split())


def _has_words(markdown: str) -> bool:
    """Return whether a note has visible text, and not only empty links or zero-width characters."""
    shown = unescape(_ELEMENT.sub("", _clean(markdown)))
    blanks = {"Cf", "Zs", "Zl", "Zp", "Cc"}
    return any(unicodedata.category(one) not in blanks for one in shown)


def _weight(made: str) -> int:
    """Return the approximate octets of HTML in quoted-printable and with inlined styles."""
    octets = len(made.encode())
    foreign = octets - sum(character.isascii() for character in made)
    return octets + 2 * foreign + _STYLE * (made.count("<") - made.count("</"))


def _clean(markdown: str) -> str:
    made = _HEADING.sub(r"\1h2", _parser().render(markdown))
    cleaned = nh3.clean(
        made,
        tags=_TAGS,
        attributes={"a": {"href"}},
        clean_content_tags={"script", "style"},
        set_tag_attribute_values=_attributes(),
        attribute_filter=_whole_link,
        link_rel=None,
    )
    return _LEADS_NOWHERE.sub(r"\1", cleaned).strip()


def _whole_link(_tag: str, name: str, value: str) -> str | None:
    """Keep http, https and mailto links; a relative link does not work in a mail."""
    if name != "href":
        # Other attributes, such as `class`, are our own.
        return value
    return value if re.match(r"(?:https?://|mailto:)[^\s]", value, re.IGNORECASE) else None


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - few commands write a note

    # Without code, which would not be wrapped, and without underlined headings, since editors write
    # "---" below a sentence as a dash.
    parser = MarkdownIt("commonmark").disable(["code", "fence", "lheading", "hr"])
    parser.add_render_rule("image", _alternative)
    return parser


def _alternative(
    _renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: object, _env: object
) -> str:
    """Render the alternative text of a picture instead of the picture, which mails do not fetch."""
    return escape(tokens[index].content)


@lru_cache(maxsize=1)
def _attributes() -> dict[str, dict[str, str]]:
    attributes: dict[str, dict[str, str]] = {tag: {"class": name} for tag, name in _STYLES.items()}
    for tag, style in _MARGINS.items():
        attributes.setdefault(tag, {}).update({"style": style, "dir": "auto"})
    return attributes


class _Writer(HTMLParser):
    """Writes cleaned HTML as lines of text, with an empty line between blocks."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self._notes = notes
        self._line = ""
        #: The beginning of each line: the indents of lists and the marks of quotations.
        self._indents: list[str] = []
        #: The mark of a list item, which replaces the last indent in the next line.
        self._mark: str | None = None
        #: The number of the next item for each open list; None for a list with bullets.
        self._lists: list[int | None] = []
        #: URL of the `<a>` element being read, and the position of its text in the line.
        self._link = ("", 0)
        self._gap = ""

    def handle_data(self, data: str) -> None:
        self._line += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._link = (dict(attrs).get("href") or "", len(self._line))
        elif tag == "br":
            self._end_line(gap="\n")
        elif tag in _BLOCKS:
            self._end_line()
        if tag in {"ul", "ol"}:
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._begin_item()
        elif tag == "blockquote":
            self._indents.append(self._indent("> "))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._end_link()
        elif tag in _BLOCKS:
            self._end_line()
        if tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
        elif tag in {"li", "blockquote"} and self._indents:
            self._indents.pop()
            self._mark = None

    def close(self) -> None:
        super().close()
        self._end_line()

    def _begin_item(self) -> None:
        number = self._lists[-1] if self._lists else None
        self._mark = self._indent("- " if number is None else f"{number}. ")
        if number is not None:
            self._lists[-1] = number + 1
        self._indents.append(" " * len(self._mark))

    def _indent(self, mark: str) -> str:
        return mark if len(self._indents) < _DEEPEST else ""

    def _end_link(self) -> None:
        href, start = self._link
        label = self._line[start:].strip()
        if href and label not in {href, href.removeprefix("mailto:")}:
            self._line += f"\u00a0[{self._notes.number(href)}]"

    def _end_line(self, *, gap: str | None = None) -> None:
        """Write the collected text as one paragraph; `gap` is the separator before the next one."""
        if self._line.strip():
            rest = "".join(self._indents)
            first = rest if self._mark is None else "".join(self._indents[:-1]) + self._mark
            self.text += self._gap + wrap(self._line, first=first, rest=rest)
            self._mark = None
            self._gap = gap or ("\n" if self._lists else "\n\n")
        elif self.text and gap is None and not self._lists:
            self._gap = "\n\n"
        self._line = ""
