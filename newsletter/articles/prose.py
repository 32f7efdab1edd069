"""Selects the paragraphs of an item's own text: without its title, bylines and engine boilerplate.

Blog engines add lines in the language of the site, so these are recognised by their parts: links to
the item and its site, the title, the author, a date.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from newsletter.articles import link, sentences, text
from newsletter.articles.markup import Block, Run

#: Maximum characters of a closing line, without the titles in it.
_MAX_CLOSING = 160
#: Maximum characters of a line about the article, above it.
_MAX_LINE = 120
#: Maximum characters of a "read more" link.
_MAX_MORE = 60
#: Maximum words of a closing line, without the titles in it.
_MAX_BESIDE = 9
_SHORT_TITLE = 12
#: Maximum number of lines removed before the text, and after it.
_MAX_LINES = 6
_MAX_CREDIT = 140
#: A first paragraph with fewer characters and without a sentence is joined with the next one.
_SHORT = 25

_SOURCE = re.compile(r"(^|[\s.])(?:original )?sources?\s*:\s*$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…。！？।؟۔։።។။:\"”»’)\]]\W{0,5}$")
_ENDS_AS_SENTENCE = re.compile(r"[.!?…。！？।؟۔։።។။]\W{0,3}$")
# Not only letters: `\w` does not match the combining marks of some scripts.
_MONTH = r"[^\W\d_][^\s\d.,،]{2,14}"
_DATE = re.compile(
    r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
    rf"|\d{{1,2}}\.?(?:st|nd|rd|th|º|er)?\s(?:de\s)?{_MONTH}[.,،]?\s(?:de\s)?\d{{4}}"
    rf"|{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?[,،]?\s\d{{4}}"
    rf"|\d{{4}}\.?\s(?:m\.\s)?{_MONTH}\s\d{{1,2}}\b\.?"
    r"|\d{4}\s?[年년]\s?\d{1,2}\s?[月월]\s?\d{1,2}\s?[日일]"
)
_TIME = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b(?:\s?[ap]\.?m\.?)?", re.IGNORECASE)
#: "4 min read", "Lesezeit: 3 Minuten", "3 分で読めます".
_READING_TIME = re.compile(
    r"^\D{0,30}\d{1,3}\s?(?:min\b|mins\b|minut|perc\b|мин|хв|دقيق|دقائق|分|분|นาที|मिनट)\D{0,30}$",
    re.IGNORECASE,
)
_NAME = r"[A-ZÀ-ÞΑ-ΩЀ-Я][^\s.!?:]*"
_BETWEEN = r"and|und|et|y|e|en|och|og|i|и|та|och|ve|de|del|da|di|van|von|der|den|la|le|[&/|,–—-]"
_NAMES = rf"(?:(?:{_NAME}|[A-Z]\.|\({_NAME}\)|{_BETWEEN})(?:\s|$)){{1,9}}"
_BY = re.compile(
    r"^(?:(?i:by|words by|written by|posted by|published by|von|par|por|di|de|door|av|af|przez"
    rf"|autor|автор|yazan))\s?[:：]?\s{_NAMES}$"
)
#: A label and names only: "Текст: Иван Петров", "Photos by: Anna Berg / AFP". A sentence also has
#: words that are no names.
_LABELLED = re.compile(rf"^[^\W\d_]{{2,20}}+(?:\s[^\W\d_]{{1,12}}+){{0,2}}\s?:\s{_NAMES}$")
# In scripts without capital letters a name is recognised by the label before it.
_LABELLED_PLAINLY = re.compile(
    r"^(?:作者|記者|记者|撰文|執筆|取材|撮影|文|图|圖|写真|写真提供|글|사진|글쓴이|기자|بقلم|كتب|كتبت|كتبه|تصوير|الصورة"
    r"|الكاتب|تحریر|نویسنده|عکس|מאת|צילום|लेखक|द्वारा|फोटो|तस्वीर|ผู้เขียน|โดย|เรื่อง|ภาพ|ภาพโดย)(?:[・･/／·][^\s:：=＝]{1,6})?"
    r"\s?[:：=＝/／]\s?[^.!?。！？।؟۔]{2,40}$|^(?:بقلم|מאת|โดย)\s[^.!?]{2,40}$"
)
_CREDIT = re.compile(
    r"^(?:(?:photos?|fotos?|fotografía|fotografie|fotograf|fotoğraf|fot|zdjęcie|zdjęcia|kuva|bilde"
    r"|billede|kép|image|picture|illustration|bild|abbildung|imagen|imagem|immagine|crédits?"
    r"|credits?|фото|иллюстрация|φωτογραφία|фотографија|фото|写真|写真提供|图片|圖片|사진|صورة|الصورة)"
    r"(?:\s(?:credits?|photos?|by|von|par|de|di|door))?\s?[:：]"
    r"|(?:photo|foto|zdjęcie) (?:by|von|par|de|di|door)\b|fot\.\s|©|\(c\)\s)",
    re.IGNORECASE,
)
#: The fallback text of media elements, which some feeds contain without the element.
_FALLBACK = re.compile(
    r"^(?=.{0,160}$)(?=.*\b(?:html5?|video|vidéo|audio|iframe|frame|canvas|видео|аудио)|.*(?:動画|音声|视频"
    r"|視頻|音频|비디오|오디오|فيديو|الصوت))"
    r"(?:.{0,40}\b(?:your|votre|ton|ihr|dein|tu|su|seu|il tuo|uw|je|din|ваш|вашият|twoja)"
    r"\s(?:web\s)?(?:browser|navigateur|navegador|nettleser|webbläsare|браузер|przeglądarka)(?![-\w])"
    r"|tarayıcınız|متصفحك|(?:お使い|ご利用)の(?:ブラウザ|環境)|您的(?:浏览器|瀏覽器)|사용\S*\s브라우저)",
    re.IGNORECASE,
)
#: Unexpanded shortcodes: "[caption id=7]", "[vc_row][vc_column]".
_SHORT_CODES = re.compile(r"(?:\[/?[a-z]+[a-z0-9_-]*(?:\s[^\[\]]{0,300})?\]\s?)++")
#: "4 posts - 3 participants", the last line of forum topics.
_COUNTS = re.compile(r"\d+\s\S{1,20}\s[-–—·•|]\s\d+\s\S{1,20}")
#: "Follow: https://social.example/@harbour #tide", as in descriptions of video sites.
_REFERENCES = re.compile(
    r"(?:[^\s:：]{1,30}\s?[:：]\s?)?(?:(?:https?://|[#@]|[\w-]++(?:\.[\w-]++)++/)\S*+(?:\s|$))++"
)
_BRACKETED = re.compile(r"(?:[^\w\[\]]*+\[[^\[\]]{1,20}\])++")
_NO_WORDS = re.compile(r"[\W_]*")


@dataclass(frozen=True)
class About:
    """Title, author and URLs of an item; URLs are absolute, or empty."""

    title: str = ""
    author: str = ""
    page: str = ""
    #: The URL of the page with readers' comments.
    comments: str = ""
    site: str = ""
    site_title: str = ""

    @property
    def own(self) -> frozenset[str]:
        """The URLs of the item itself."""
        return frozenset(filter(None, (_spelled(self.page), _spelled(self.comments))))


def source(blocks: Sequence[Block]) -> tuple[str | None, list[Block]]:
    """Return the host of a closing "Source: <a href=...>", and the blocks without it."""
    if not blocks:
        return None, []
    *others, last = blocks
    at = max((at for at, run in enumerate(last.runs) if run.href), default=None)
    if at is None:
        return None, list(blocks)
    first = at
    while first and last.runs[first - 1].href == last.runs[at].href:
        first -= 1
    head = "".join(run.text for run in last.runs[:first])
    tail = "".join(run.text for run in last.runs[at + 1 :])
    found = link.host(last.runs[at].href or "")
    if found is None or tail.strip(" .)\n\t") or not _SOURCE.search(head):
        return None, list(blocks)
    rest = text.clean(_SOURCE.sub(lambda match: match[1].strip(), head))
    return found, [*others, *([_block(rest)] if rest else [])]


def own(blocks: Sequence[Block], about: About) -> list[str]:
    """Return the paragraphs of the article's own text, up to the first heading after them."""
    kept = _without_closing(list(blocks), about)
    kept = _up_to_heading(_without_opening(kept, about))
    paragraphs = [one.text for one in kept if not one.is_heading] or [one.text for one in kept]
    if paragraphs:
        paragraphs[-1] = _without_names(paragraphs[-1], about)
    return [shown for one in paragraphs if (shown := sentences.without_engine(one))]


def opening(paragraphs: Sequence[str]) -> str:
    """Return the first paragraph of an article, with the next ones if it is short."""
    found = ""
    for one in paragraphs:
        found = f"{found} {one}".strip()
        if len(found) >= _SHORT or sentences.ends(found + " "):
            break
    return found


def _without_closing(blocks: list[Block], about: About) -> list[Block]:
    for _ in range(_MAX_LINES):
        if not blocks or not _is_closing(blocks[-1], about, is_only=len(blocks) == 1):
            break
        blocks = blocks[:-1]
    if not blocks:
        return []
    return [*blocks[:-1], *_without_more(_without_references(blocks[-1]), about)]


def _is_closing(block: Block, about: About, *, is_only: bool) -> bool:
    """Return whether the last block is a line that the engine has added."""
    words = block.text
    if any(one.fullmatch(words) for one in (_NO_WORDS, _COUNTS)):
        return True
    if not is_only and _REFERENCES.fullmatch(words):
        return True
    if not block.unlinked.strip(" .,:;|·•–—-→»›>[]()") and block.hrefs and _is_short(words):
        # The block has only links: to the item, to its comments, or in brackets.
        is_own = all(_spelled(href) in about.own for href in block.hrefs)
        return is_own or bool(_BRACKETED.fullmatch(words) and len(block.hrefs) > 1)
    if _is_submission(block) and _BRACKETED.search(words):
        return True
    if is_only and not block.hrefs:
        return False
    return _names_item_and_site(block, about)


def _is_short(words: str) -> bool:
    return len(words) <= _MAX_MORE or not _ENDS_AS_SENTENCE.search(words)


def _is_submission(block: Block) -> bool:
    """Return whether a block is a line such as "submitted by /u/mia [link] [comments]"."""
    return len(block.text) <= _MAX_LINE and bool(re.search(r"(?:^|\s)/?u/\S+", block.text))


def _names_item_and_site(block: Block, about: About) -> bool:
    """Return whether a block consists of the item and then its site, as links or titles."""
    words = block.text
    titles = len(about.title) + len(about.site_title)
    if len(words) > _MAX_CLOSING + titles:
        return False
    own = {href for href in block.hrefs if _spelled(href) in about.own}
    others = [href for href in block.hrefs if href not in own]
    if own and others and all(_is_of_site(href, about) for href in others):
        return True
    return _has_both_titles(words, about)


def _has_both_titles(words: str, about: About) -> bool:
    """Return whether a line has the titles of item and site, and few other words."""
    title, site = about.title.casefold(), about.site_title.casefold()
    folded = words.casefold()
    if len(title) < 3 or len(site) < 2 or title not in folded:
        return False
    rest = folded.replace(title, " ", 1)
    # A sentence may begin with a short title: "Fog is what the Harbour Blog is about."
    is_sentence = folded.startswith(title) and len(title) < _SHORT_TITLE
    beside = len(re.findall(r"\w+", rest.replace(site, " ", 1)))
    return site in rest and not is_sentence and beside <= _MAX_BESIDE


def _is_of_site(href: str, about: About) -> bool:
    """Return whether a URL is the site's front page, or a publication's front page on its host."""
    url, site, page = urlsplit(href), urlsplit(about.site), urlsplit(about.page)
    if _spelled(href) == _spelled(about.site):
        return True
    return url.netloc in {site.netloc, page.netloc} and url.path.count("/") <= 1


def _without_names(words: str, about: About) -> str:
    """Return a text without a last sentence that has the titles of item and site."""
    if not about.title or not _has_both_titles(words[-text.MAX_TITLE - _MAX_CLOSING :], about):
        return words
    at = words.casefold().rfind(about.title.casefold())
    start = max((end for end in sentences.ends(words[:at]) if end <= at), default=0)
    tail = words[start:]
    is_line = len(tail) <= _MAX_CLOSING + len(about.title) + len(about.site_title)
    is_named = _has_both_titles(tail, about) and len(sentences.ends(tail + " ")) <= 1
    return words[:start].rstrip() if start and is_line and is_named else words


def _without_references(block: Block) -> Block:
    """Return the last block without the links and hashtags after its last sentence."""
    tail, first = "", len(block.runs)
    for at, run in reversed(list(enumerate(block.runs))):
        tail = run.text + tail
        if len(tail) > _MAX_CLOSING or (run.href is None and _NO_WORDS.fullmatch(run.text) is None):
            break
        if run.href is not None and _REFERENCES.fullmatch(text.clean(tail)):
            first = at
    head = text.clean("".join(run.text for run in block.runs[:first]))
    is_behind = first < len(block.runs) and _ENDS_AS_SENTENCE.search(head)
    return _block(head) if is_behind else block


def _without_more(block: Block, about: About) -> list[Block]:
    """Return the last block without the "read more" link at its end."""
    runs = list(block.runs)
    while runs and _NO_WORDS.fullmatch(runs[-1].text) and runs[-1].href is None and len(runs) > 1:
        if _ENDS_AS_SENTENCE.search(runs[-1].text):
            return [block]
        runs.pop()
    last = runs[-1]
    if last.href is None:
        return [block]
    while runs and runs[-1].href == last.href:
        runs.pop()
    head = text.clean("".join(run.text for run in runs))
    asked = "".join(run.text for run in block.runs[len(runs) :])
    is_apart = not head or bool(_SENTENCE_END.search(head))
    is_asking = "more" in re.split(r"[\s_-]", last.classes.lower())
    is_own = _spelled(last.href) in about.own
    if head and is_own and len(asked) <= _MAX_MORE + len(about.title) and (is_apart or is_asking):
        return [_block(head.rstrip(" »›→>|"))]
    return [block]


def _up_to_heading(blocks: list[Block]) -> list[Block]:
    """Return the blocks before the first heading that is not the first block."""
    at = next((at for at, one in enumerate(blocks) if at and _is_heading(one)), len(blocks))
    return blocks[:at]


def _is_heading(block: Block) -> bool:
    words = block.text
    is_line = len(words) <= _MAX_LINE and not _ENDS_AS_SENTENCE.search(words)
    return block.is_heading or (block.is_all("bold") and is_line)


def _without_opening(blocks: list[Block], about: About) -> list[Block]:
    for _ in range(_MAX_LINES):
        if len(blocks) < 2 or not (_is_opening(blocks[0], about) or _is_apart(*blocks[:2])):
            break
        blocks = blocks[1:]
    if not blocks:
        return []
    return [_without_title(blocks[0], about), *blocks[1:]]


def _is_opening(block: Block, about: About) -> bool:
    """Return whether the first block is about the article, such as a title or byline."""
    words = block.text
    if _is_heading(block) or text.title_key(words) == text.title_key(about.title):
        return True
    if _FALLBACK.search(words) or _SHORT_CODES.fullmatch(words):
        return True
    is_slanted = block.is_all("slanted")
    if block.follows_picture and is_slanted and len(words) <= 2 * _MAX_LINE:
        return True
    is_beside = block.follows_picture or is_slanted or not _ENDS_AS_SENTENCE.search(words)
    if is_beside and len(words) <= _MAX_CREDIT and _CREDIT.search(words):
        return True
    return _is_by_line(words, about)


def _is_apart(block: Block, following: Block) -> bool:
    """Return whether the first block is a picture's caption or a button before the text."""
    if following.text[:1].islower():
        return False
    is_line = len(block.text) <= _MAX_LINE and not _SENTENCE_END.search(block.text)
    is_caption = block.follows_picture and bool(_ENDS_AS_SENTENCE.search(following.text))
    return (is_line and is_caption) or _is_button(block)


def _is_button(block: Block) -> bool:
    """Return whether a block is a single short link, or a list of links into the page."""
    words = block.text
    if not block.hrefs or re.search(r"\w", block.unlinked) or _ENDS_AS_SENTENCE.search(words):
        return False
    return len(words) <= _MAX_MORE or all(href.startswith("#") for href in block.hrefs)


def _is_by_line(words: str, about: About) -> bool:
    """Return whether a line has the author, date or reading time, and few other words."""
    if len(words) > _MAX_LINE + len(about.title):
        return False
    if any(one.search(words) for one in (_BY, _LABELLED, _LABELLED_PLAINLY, _READING_TIME)):
        return True
    rest = words
    for name in filter(None, (about.title, about.author)):
        rest = _cut(rest, name)
    has_author = bool(about.author) and len(_cut(words, about.author)) < len(words)
    rest, dates = _DATE.subn(" ", rest)
    rest = _TIME.sub(" ", rest)
    if _ENDS_AS_SENTENCE.search(rest) and not dates:
        return False
    # "Submitted by admin on Fri,": few words, in any language.
    return (has_author or dates > 0) and len(re.findall(r"[^\W\d_]{4,}", rest)) <= 3


def _cut(words: str, name: str) -> str:
    """Return text without the first occurrence of a name, ignoring case."""
    at = words.casefold().find(name.casefold())
    return words if at < 0 else words[:at] + " " + words[at + len(name) :]


def _without_title(block: Block, about: About) -> Block:
    """Return a block without the title as its first sentence, if more follows."""
    title = about.title
    rest = block.text[len(title) :]
    is_title = bool(title) and block.text[: len(title)].casefold() == title.casefold()
    marked = re.match(r"\s?[.:|!?…–—-]+\s", rest) or (title[-1:] in ".!?…" and rest[:1] == " ")
    if not is_title or not marked or not re.search(r"\w", rest):
        return block
    shown = rest.lstrip(" .:|!?…–—-")
    return block if shown[:1].islower() else _block(shown)


def _block(words: str) -> Block:
    return Block((Run(words),), words)


@lru_cache(maxsize=1_024)
def _spelled(href: str) -> str:
    """Return the part of a URL that identifies its page, without scheme and fragment."""
    try:
        url = urlsplit(href.strip())
    except ValueError:
        return ""
    path = unquote(url.path.rstrip("/"))
    query = "" if path else url.query
    return f"{url.netloc.lower().removeprefix('www.')}{path}?{query}" if url.netloc else ""
