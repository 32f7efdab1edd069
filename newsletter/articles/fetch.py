"""Downloads a feed, or reads it from a file, within bounds.

Bounded are schemes, size (compressed and decompressed), total time, redirects, and the network
addresses of each hop (see `newsletter.articles.guard`). Cookies, proxies of the environment and
netrc are not used, and no error message contains a password or query.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from newsletter.articles import link, polling
from newsletter.articles.guard import Clock, Deadline, Guard, GuardedTransport, Resolver, resolve
from newsletter.articles.limits import Limits
from newsletter.clock import utc_now
from newsletter.errors import FeedError, InvalidInput
from newsletter.version import VERSION

#: Maximum characters of a feed's URL.
MAX_URL = 2_000

_GZIP = b"\x1f\x8b"
_GZIP_NAMES = {"gzip", "x-gzip"}
_UNREADABLE = {"br", "zstd", "compress", "x-compress", "dcb", "dcz"}
# A proxy may compress a compressed response once more.
_MAX_LAYERS = 2
_PEEK = 64
_PLAIN = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*[<{]")
_REDIRECTS = {301, 302, 303, 307, 308}
_USER_AGENT = f"newsletter-delivery/{VERSION} (feed reader)"
_ACCEPT = (
    "application/rss+xml, application/atom+xml, application/feed+json, "
    "application/rdf+xml;q=0.9, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.5"
)
_REFUSALS = {
    401: ("wants a password", "Put it in the URL: https://user:password@host/feed."),
    403: ("refuses to give it", "Ask its publisher whether feed readers are let in."),
    404: ("does not have it", "Check the URL, or look for a new one on the site."),
    410: (
        "says that it is gone for good",
        "It is not asked again. Remove the feed, or ask once more: `newsletter feeds fetch FEED`.",
    ),
    429: ("has been asked too often", "It is asked again when its server allows it."),
}


@dataclass(frozen=True)
class Validators:
    """The validators of the last response, for a conditional request (RFC 9110 13.1)."""

    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers of a conditional request."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class Fetched:
    """The response for a feed."""

    #: Decompressed; empty if `not_modified`.
    body: bytes
    content_type: str
    #: For the next conditional request; None if they come from another host than the feed's.
    etag: str | None
    last_modified: str | None
    #: After redirects, without user and password; the base of relative links.
    final_url: str
    not_modified: bool


def normalise(source: str) -> str:
    """Return the normalised source of a feed: an http(s) URL, or an absolute path.

    Raises InvalidInput for another scheme, an invalid URL, or a file that does not exist.
    """
    spelled = spell(source)
    if not is_url(spelled) and not Path(spelled).is_file():
        raise InvalidInput(
            f"There is no file {spelled}.", hint="Name a feed's file, or a URL with https://."
        )
    return spelled


def spell(source: str) -> str:
    """Normalise a source without checking that a file exists."""
    source = source.strip()
    if is_url(source):
        return _spell_url(source)
    scheme, separator, rest = source.partition("://")
    if separator and scheme.lower() != "file":
        raise InvalidInput(
            f"A feed cannot come from {scheme[:20]}://.", hint="Use http://, https:// or a file."
        )
    if "\0" in source:
        raise InvalidInput("That is not the name of a file.")
    return str(Path(rest if separator else source).expanduser().resolve())


def is_url(source: str) -> bool:
    """Return whether a source is a URL, not a file."""
    return source.lower().startswith(("http://", "https://"))


def fetch(
    source: str,
    limits: Limits,
    validators: Validators = Validators(),
    *,
    resolver: Resolver = resolve,
    clock: Clock = time.monotonic,
    tls: ssl.SSLContext | None = None,
) -> Fetched:
    """Fetch a normalised source; any failure of the server or network raises FeedError."""
    if not is_url(source):
        return _read_file(Path(source), limits)
    deadline = Deadline(limits.timeout_seconds, clock)
    guard = Guard(deadline, allow_private=limits.allow_private, resolver=resolver)
    transport = GuardedTransport(guard, tls or httpx.create_ssl_context())
    with _explained(source, deadline), transport:
        return _follow(transport, httpx.URL(source), limits=limits, validators=validators)


def shown(url: str) -> str:
    """Return a URL for messages and logs: without user, password and query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "that URL"
    if not parts.scheme or not parts.hostname:
        return url
    query = "?…" if parts.query else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}{query}"


def _spell_url(source: str) -> str:
    hint = "It looks like https://example.com/feed.xml."
    url = link.parsed(source)
    if url is None:
        raise InvalidInput("That URL cannot be read.", hint=hint)
    spelled = str(url.copy_with(fragment=None))
    if not link.is_web(url) or len(spelled) > MAX_URL:
        raise InvalidInput("That URL cannot be a feed's.", hint=hint)
    return spelled


def _read_file(path: Path, limits: Limits) -> Fetched:
    try:
        # Non-blocking: opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FeedError(f"{path} is not a file.")
            body = file.read(limits.max_bytes + 1)
    except OSError as exc:
        raise FeedError(
            f"{path} could not be read: {exc.strerror or exc}.",
            hint="Put the file back, or remove the feed: `newsletter feeds remove`.",
        ) from exc
    if len(body) > limits.max_bytes:
        raise _too_large(limits)
    return Fetched(
        body=body,
        content_type="",
        etag=None,
        last_modified=None,
        final_url="",
        not_modified=False,
    )


def _follow(
    transport: GuardedTransport, url: httpx.URL, *, limits: Limits, validators: Validators
) -> Fetched:
    """Send the request and follow redirects; credentials go to the feed's own origin only."""
    start = url
    for _ in range(limits.max_redirects + 1):
        is_home = url.raw_host == start.raw_host
        request = _request(url, validators if is_home else Validators())
        if start.userinfo and _origin(url) == _origin(start):
            next(httpx.BasicAuth(start.username, start.password).auth_flow(request))
        # httpx.Client is not used: it parses redirects itself, and fails for unusual host names.
        response = transport.handle_request(request)
        with closing(response):
            response.request = request
            if response.status_code not in _REDIRECTS:
                return _take(response, limits, is_home=is_home)
            url = _next(url, response)
    raise FeedError(
        f"The feed redirects more than {limits.max_redirects} times.",
        hint="Open the URL in a browser and use the one it ends at.",
    )


def _request(url: httpx.URL, validators: Validators) -> httpx.Request:
    headers = {
        # Set here: httpx would derive it from the host name, and refuse names that IDNA refuses.
        "Host": url.netloc.decode("ascii"),
        "Accept": _ACCEPT,
        "Accept-Encoding": "gzip",
        "User-Agent": _USER_AGENT,
        **validators.headers(),
    }
    return httpx.Request("GET", url.copy_with(userinfo=None), headers=headers)


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port


def _next(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    location = response.headers.get("location", "")
    try:
        target = link.parsed(urljoin(str(url), location))
    except ValueError:
        target = None
    if target is None:
        raise FeedError("The feed redirects to a URL that cannot be read.")
    if not location or not link.is_web(target):
        raise FeedError("The feed redirects to something that is not on the web.")
    return target.copy_with(fragment=None, userinfo=None)


def _take(response: httpx.Response, limits: Limits, *, is_home: bool) -> Fetched:
    status = response.status_code
    not_modified = status == 304
    if not_modified and not {"if-none-match", "if-modified-since"} & set(response.request.headers):
        raise FeedError("The feed's server says that nothing changed, without having been asked.")
    if not not_modified and status != 200:
        raise _refusal(response)
    return Fetched(
        body=b"" if not_modified else _unpack(response, limits),
        content_type=response.headers.get("content-type", ""),
        etag=_validator(response, "etag") if is_home else None,
        last_modified=_validator(response, "last-modified") if is_home else None,
        final_url=str(response.url),
        not_modified=not_modified,
    )


def _validator(response: httpx.Response, name: str) -> str | None:
    value: str | None = response.headers.get(name)
    return (
        value if value and len(value) <= 500 and value.isascii() and value.isprintable() else None
    )


def _refusal(response: httpx.Response) -> FeedError:
    status, headers = response.status_code, response.headers
    says, hint = _REFUSALS.get(
        status, (f"answers with status {status}", "Try again later, or check the URL.")
    )
    return FeedError(
        f"The server of {shown(str(response.url))} {says} (HTTP {status}).",
        hint=hint,
        retry_after=polling.retry_after(
            headers.get("retry-after", ""), date=headers.get("date", ""), now=utc_now()
        ),
        is_gone=status == 410,
    )


def _unpack(response: httpx.Response, limits: Limits) -> bytes:
    """Read and decompress the body, with at most `max_bytes` of either form in memory.

    The first octets of the body decide, not the header: servers label plain documents as `none`,
    `utf-8` or `aws-chunked`, and compress twice without a label.
    """
    header = response.headers.get("content-encoding", "").lower()
    codings = {one.strip() for one in header.split(",")}
    if codings & _UNREADABLE:
        raise FeedError("The feed is packed in a way that was not asked for.")
    chunks = _capped(response.iter_raw(), limits)
    try:
        for _ in range(_MAX_LAYERS):
            chunks = _unpacked(chunks, codings, limits)
        return b"".join(chunks)
    except zlib.error as exc:
        raise FeedError("The feed arrived damaged: it cannot be unpacked.") from exc


def _unpacked(chunks: Iterator[bytes], codings: set[str], limits: Limits) -> Iterator[bytes]:
    """Decompress one layer, if there is one."""
    head, chunks = _peek(chunks)
    if head.startswith(_GZIP):
        codings -= _GZIP_NAMES
        return _members(chunks, 31, limits)
    if _PLAIN.match(head) or not codings & {"deflate", *_GZIP_NAMES}:
        return chunks
    # Servers send zlib (RFC 1950) as "deflate", as RFC 9110 requires, or raw deflate (RFC 1951).
    is_zlib = head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0
    wbits = 31 if codings & _GZIP_NAMES else 15 if is_zlib else -15
    codings -= {"deflate", *_GZIP_NAMES}
    return _members(chunks, wbits, limits)


def _peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first octets of a body, and an iterator over the whole body."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _PEEK:
            break
    return head, chain([head], chunks)


def _capped(chunks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limits.max_bytes:
            raise _too_large(limits)
        yield chunk


def _members(chunks: Iterator[bytes], wbits: int, limits: Limits) -> Iterator[bytes]:
    """Decompress gzip members (RFC 1952 2.2), with at most `max_bytes` of output.

    Trailing data that is no member is ignored, as gzip does.
    """
    left = limits.max_bytes
    member = zlib.decompressobj(wbits)
    behind = b""
    for chunk in chunks:
        packed, behind = behind + chunk, b""
        while packed:
            if member.eof:
                packed = packed.lstrip(b"\0")
                if len(packed) < len(_GZIP):
                    behind = packed
                    break
                if not packed.startswith(_GZIP):
                    return
                member = zlib.decompressobj(wbits)
            out = member.decompress(packed, left + 1)
            left -= len(out)
            if left < 0:
                raise _too_large(limits)
            yield out
            packed = member.unused_data if member.eof else member.unconsumed_tail
    if not member.eof:
        raise FeedError("The feed arrived cut off.", hint="Try again later.")


def _too_large(limits: Limits) -> FeedError:
    return FeedError(
        f"The feed is larger than {limits.max_bytes:,} octets.",
        hint="Ask its publisher for a feed of the newest articles, or raise feed_max_bytes.",
    )


@contextmanager
def _explained(source: str, deadline: Deadline) -> Iterator[None]:
    """Translate errors of the HTTP client to FeedError, without credentials."""
    name = shown(source)
    try:
        yield
    except httpcore.TimeoutException as exc:
        if isinstance(exc, httpcore.ConnectTimeout):
            raise FeedError(
                f"{name} could not be reached: no answer.", hint="Try again later."
            ) from exc
        raise deadline.passed() from exc
    except httpcore.ConnectError as exc:
        raise _unreachable(name, exc) from exc
    except (httpcore.ProtocolError, httpcore.NetworkError) as exc:
        raise FeedError(
            f"{name} was cut off, or its server speaks no proper HTTP.", hint="Try again later."
        ) from exc
    except (httpx.HTTPError, httpx.InvalidURL, httpcore.UnsupportedProtocol) as exc:
        raise FeedError(f"{name} could not be fetched.") from exc


def _unreachable(name: str, exc: httpcore.ConnectError) -> FeedError:
    cause = exc.__cause__ or exc.__context__ or exc
    if isinstance(cause, ssl.SSLCertVerificationError):
        return FeedError(
            f"{name} has a certificate that is not valid: {cause.verify_message}.",
            hint="Its publisher must mend that; until then the feed cannot be trusted.",
        )
    if isinstance(cause, ssl.SSLError):
        return FeedError(f"{name} could not be reached: encryption failed.")
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no answer"
    return FeedError(f"{name} could not be reached: {reason}.", hint="Try again later.")
