"""Selects the picture of an article: the widest one known that is no decoration.

Tracking pixels, smileys, avatars, badges, share icons, placeholders and SVG (which mail clients do
not show) count as decorations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from newsletter.articles import link

#: Pixels; a picture smaller in either direction is an icon, a button or a tracking pixel.
_SMALLEST = 50
#: The width assumed if unknown (pixels): more than a thumbnail, less than a large picture.
_UNKNOWN_WIDTH = 400
#: The longer side divided by the shorter; more is a banner or a rule.
_LONGEST_SHAPE = 7

#: Attributes in which lazy-loading scripts keep the URL, the better ones first.
_LAZY = (
    *("data-src", "data-lazy-src", "data-original", "data-orig-file", "data-large-file"),
    *("data-lazy", "data-actualsrc", "data-hi-res-src", "data-echo", "data-url"),
)
_CODE = re.compile(r":[a-z0-9_+-]{1,60}:", re.IGNORECASE)
_LONGEST_ALT = 100
_LIKE_AN_ADDRESS = re.compile("[./]")
_PICTURE_FILE = re.compile(r"^\S+\.(?:jpe?g|png|webp|gif)(?:[?#]\S*)?\s*$", re.IGNORECASE)
_DESCRIPTOR = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)([wx])(?:,(.*))?", re.ASCII | re.DOTALL)

_LENGTH = re.compile(r"\s*(\d{1,5})(?:\.\d{0,9})?(?:px)?\s*", re.ASCII)
_STYLE = re.compile(
    r"(?<![-\w])(?:(max)-)?(width|height)\s{0,9}:\s{0,9}(\d{0,5}(?:\.\d{1,9})?)(px|r?em|ex|pt|)(?![\w%.])",
    re.ASCII | re.IGNORECASE,
)
_HIDING = re.compile(
    r"(?<![-\w])(?:display:none|visibility:(?:hidden|collapse)|opacity:0?\.?0*[0-4]?%?(?![.\d])|clip:rect\(0|clip-path:inset\((?:50|100)%"
    r"|font-size:0|max-(?:height|width):0(?![.\d])|mso-hide:all|(?:left|top|text-indent):-\d{3})",
    re.IGNORECASE,
)
#: An element so small that its content is hidden; one with padding reserves space for lazy loading.
_CLOSED = re.compile(
    r"(?=.*overflow:hidden)(?!.*padding).*(?<![-\w])(?:height|width):[01](?:px)?(?![.\d%\w])",
    re.IGNORECASE,
)
#: Sizes in URLs of common engines.
_SIZED = (
    re.compile(r"-(\d{2,4})x(\d{2,4})\.\w{3,5}$", re.ASCII),
    re.compile(r"/w(\d{2,4})-h(\d{2,4})(?:-[a-z-]{1,20})?/", re.ASCII),
    re.compile(r"/s(\d{2,4})(?:-[a-z0-9-]{1,20})?/", re.ASCII),
    re.compile(r"[?&](?:w|width)=(\d{2,4})(?:&|$)", re.ASCII),
)

_HOSTS = re.compile(
    r"(?:^|\.)(?:gravatar\.com|libravatar\.org|shields\.io|badgen\.net|badge\.fury\.io"
    r"|feedburner\.com|feedsportal\.com|pixel\.wp\.com|stats\.wordpress\.com|doubleclick\.net"
    r"|addtoany\.com|google-analytics\.com|sharethis\.com|scorecardresearch\.com|quantserve\.com"
    r"|avatars\d?\.githubusercontent\.com|codecov\.io|coveralls\.io|travis-ci\.(?:org|com)"
    r"|statcounter\.com|vgwort\.de|mc\.yandex\.(?:ru|com)|yadro\.ru|xiti\.com|hit\.gemius\.pl"
    r"|creativecommons\.org|licensebuttons\.net|buymeacoffee\.com|ko-fi\.com|paypalobjects\.com"
    r"|patreon\.com|placehold\.(?:co|it)|via\.placeholder\.com|dummyimage\.com|codecogs\.com)$"
)
#: The first label of tracking hosts.
_COUNTING_HOSTS = re.compile(
    r"(?:pixels?|stats?|counter|track(?:er|ing)?|beacon|analytics|matomo|piwik|hits|[a-z]+-badge)\d*\."
)
_FOLDERS = re.compile(
    r"(?:user_|custom_|letter_|user-)?(?:avatars?|emojis?|emoticons|smil(?:ies|eys?)|badges?)(?:_proxy)?"
    r"|(?:tw|open|noto)emoji.*|emoji\.php|emojione|joypixels|favicons|(?:share|social)-icons"
    r"|profile[_-](?:images|pictures|photos)|btn|buttons"
)
_PHOTOGRAPHS = (".jpg", ".jpeg", ".webp", ".avif", ".heic")
_COUNTER = re.compile(
    r"(?:[a-z0-9]|blank|pixel|px|count(?:er)?|clear(?:gif)?|dot|trans(?:parent)?|empty|beacon"
    r"|track(?:er|ing)?|hit|stats?|open|impression|ping|collect|tr|spinner|load(?:ing|er)"
    r"|matomo|piwik|__utm|gr[ae]y|view)"
)
#: File names of tracking pixels and placeholders, whatever the format.
_SURE_COUNTER = re.compile(
    r"(?:(?:hit|page|view|visit(?:or)?|track(?:er|ing)?|ajax|lazy|image|clear|blank|empty|open)[-_.]?)?"
    r"(?:pixel|counter|tracker|beacon|loader|loading|spinner|transparent|blank|1px)(?:[-_.]?\d{1,2})?"
)
_PLACEHOLDER = re.compile(
    r"(?:.*[-_.])?(?:placeholder|spacer|1x1|lazy-?load(?:er|ing)?"
    r"|(?:no|default)[-_]?(?:image|photo|picture|thumb(?:nail)?)(?:-available)?)(?:[-_.].*)?|lazy",
    re.DOTALL,
)
_NETWORKS = (
    "facebook|twitter|linkedin|whatsapp|pinterest|telegram|mastodon|bluesky|bsky|reddit|instagram"
    "|youtube|tumblr|rss|feed|email|e-?mail|print|share|tweet|digg|delicious|stumbleupon|x"
)
_ICON = re.compile(
    # Files of emoji are named by their code points.
    r"(?:1f[0-9a-f]{3}|2[367b](?:\d?[a-f]|[a-f]\d)|2[367b][0-9a-f]{2}(?=-)|00[23][0-9a-f](?=-20e3))(?:-[0-9a-f]{2,5})*|"
    rf"(?:.{{1,40}}[-_])?(?:fav)?icons?(?:[-_].{{1,40}})?|avatar(?:[-_]?\d+(?:x\d+)?)?"
    rf"|(?:{_NETWORKS})(?:[-_.]?(?:icon|logo|share|button|badge|f|\d++(?:x\d++)?))*+"
    r"|88x31|gif\.latex|latex|(?:.{1,40}[-_])?(?:store|play|donate|patron|support)[-_](?:badge|button|btn)"
    r"|(?:badge|button|btn)(?:[-_](?:donate|buy|pay|subscribe|follow).{0,40})?"
    rf"|(?:icon|share|follow|logo)[-_](?:on[-_])?(?:{_NETWORKS})(?:[-_]?\d+)?"
)
_DECORATED = re.compile(
    r"(?<![a-z])(?:wp-smiley|emojis?|emoticons?|smiley|gravatar|avatar|badge|icon|pixel|tracker"
    r"|author-(?:photo|image|picture|pic|thumb\w*)|latex|mwe-math\S*|mathjax\S*)"
    r"(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Picture:
    """A picture of an article; sizes in pixels, if the feed has them."""

    url: str
    width: int | None = None
    height: int | None = None
    alt: str | None = None


def best(pictures: Iterable[Picture]) -> Picture | None:
    """Return the widest picture that is no decoration, the first of equals, or None."""
    fit = [_sized(one) for one in pictures if not is_decoration(one)]
    return max(fit, key=lambda one: one.width or _UNKNOWN_WIDTH, default=None)


def is_decoration(picture: Picture) -> bool:
    """Return whether a picture is an icon, a tracking pixel or the like, by its sizes and URL."""
    width, height = picture.width, picture.height
    if min(width or _SMALLEST, height or _SMALLEST) < _SMALLEST:
        return True
    if width and height and max(width / height, height / width) > _LONGEST_SHAPE:
        return True
    parts = urlsplit(picture.url)
    host, path = parts.hostname or "", unquote(parts.path).lower()
    is_counting = _COUNTING_HOSTS.match(host) and not path.endswith(_PHOTOGRAPHS)
    is_avatar = host.endswith(".googleusercontent.com") and path.startswith(("/a/", "/a-/"))
    return bool(is_counting or is_avatar or _HOSTS.search(host) or _is_named_so(path))


def pixels(value: object) -> int | None:
    """Parse a size in pixels, 0 to 20,000, or None; 0 is the size of a hidden picture."""
    found = _LENGTH.fullmatch(str(value))
    return int(found[1]) if found and int(found[1]) <= 20_000 else None


def is_hidden(style: str | None, hidden: str | None) -> bool:
    """Return whether an element is hidden, by its attributes `style` and `hidden`."""
    joined = "".join(style[:4_000].split()) if style else ""
    return hidden is not None or bool(_HIDING.search(joined) or _CLOSED.match(joined))


def of_element(attributes: Mapping[str, str], base: str, *, alt: str | None) -> Picture | None:
    """Return the picture of an `img`, also a lazy-loaded one; None for a decoration or nothing."""
    classes = f"{attributes.get('class', '')} {attributes.get('id', '')}"
    is_unseen = is_hidden(attributes.get("style"), attributes.get("hidden"))
    sizes = _sizes(attributes)
    is_smiley = _is_smiley(attributes.get("alt", "")) and sizes.get("width", 0) < _UNKNOWN_WIDTH
    if is_unseen or is_smiley or _DECORATED.search(classes):
        return None
    if min(sizes.get("width", _SMALLEST), sizes.get("height", _SMALLEST)) < _SMALLEST:
        return None
    width, height = sizes.get("width"), sizes.get("height")
    for url, wide in _addresses(attributes, base, width):
        # All sizes of a picture have the same ratio.
        high = round(height * wide / width) if wide and width and height else height
        found = Picture(url, wide or width, high, alt)
        if not is_decoration(found):
            return found
    return None


def _is_smiley(alt: str) -> bool:
    """Return whether an alternative text is only an emoji, or the name of one (":smile:")."""
    words = alt.strip()[:_LONGEST_ALT]
    is_drawn = any(unicodedata.category(mark) in {"So", "Sk", "Me"} for mark in words)
    return bool(_CODE.fullmatch(words)) or (
        is_drawn and not any(mark.isalpha() or mark.isspace() for mark in words)
    )


def _addresses(
    attributes: Mapping[str, str], base: str, width: int | None
) -> Iterator[tuple[str, int | None]]:
    """Yield the URLs of an `img` with the widths given with them, the best first."""
    named = ("srcset", *_named(attributes, "srcset"))
    sets = [one for name in named for one in _set(attributes.get(name, ""), width)]
    for address, wide, density in sorted(sets, key=lambda one: (-(one[1] or 0), -one[2])):
        url = link.image(address, base)
        if url and (wide or density > 1):
            yield url, wide
    for name in (*_LAZY, *_named(attributes, "src"), *_of_pictures(attributes), "src"):
        value = attributes.get(name, "")
        # Some blog engines write "true" or "1", and no URL, into these attributes.
        url = link.image(value, base) if name == "src" or _LIKE_AN_ADDRESS.search(value) else None
        if url:
            yield url, None
    for address, *_ in sets:
        url = link.image(address, base)
        if url:
            yield url, None


def _named(attributes: Mapping[str, str], kind: str) -> Iterator[str]:
    """Yield the names of `data-` attributes that end in `kind` and contain a URL."""
    for name, value in attributes.items():
        if name.startswith("data-") and name.endswith(kind) and _LIKE_AN_ADDRESS.search(value):
            yield name


def _of_pictures(attributes: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of `data-` attributes that contain the URL of a picture."""
    for name, value in attributes.items():
        if name.startswith("data-") and _PICTURE_FILE.search(value):
            yield name


def _set(value: str, width: int | None) -> Iterator[tuple[str, int | None, float]]:
    """Yield the candidates of a `srcset`: URL, width, density.

    Split at white space, because URLs may contain commas.
    """
    address = ""
    for word in value.split():
        described = _DESCRIPTOR.fullmatch(word) if address else None
        if described is None:
            if address:
                yield address, None, 0
            address = word.strip(",")
            continue
        number = float(described[1])
        is_width = described[2] == "w"
        wide = number if is_width else number * (width or 0)
        yield address, round(wide) or None, 0 if is_width else number
        address = described[3] or ""
    if address:
        yield address, None, 0


def _sizes(attributes: Mapping[str, str]) -> dict[str, int]:
    """Return width and height in pixels, if attributes or styles have them."""
    found = {}
    for name in ("width", "height"):
        size = pixels(attributes.get(name, ""))
        if size is not None:
            found[name] = size
    for limit, name, number, unit in _STYLE.findall(attributes.get("style", "")[:4_000]):
        if not number:
            continue
        size = round(float(number) * (1 if unit.lower() in {"", "px"} else 16))
        if limit and size >= _SMALLEST:
            # A maximum says nothing about the actual size, unless it is tiny.
            continue
        found[name] = min(size, 20_000)
    return found


def _sized(picture: Picture) -> Picture:
    """Return a picture with the size in its URL, if its width is unknown."""
    if picture.width:
        return picture
    for pattern in _SIZED:
        found = pattern.search(picture.url)
        if found:
            height = int(found[2]) if found.lastindex == 2 else picture.height
            return replace(picture, width=int(found[1]), height=height)
    return picture


def _is_named_so(path: str) -> bool:
    """Return whether a path has folders or a file name of a decoration."""
    *folders, name = path.split("/")
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    if ending in {"svg", "svgz", "ico", "cur"} or any(map(_FOLDERS.fullmatch, folders)):
        return True
    if _PLACEHOLDER.fullmatch(stem):
        return True
    # Photographs may be named like decorations: "x.jpg", "share.jpg".
    is_photograph = name.endswith(_PHOTOGRAPHS)
    is_counter = _SURE_COUNTER.fullmatch(stem) or (ending != "png" and _COUNTER.fullmatch(stem))
    return not is_photograph and bool(is_counter or _ICON.fullmatch(stem))
