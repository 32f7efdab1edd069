"""Pure check of the responses of base_url to a one-click unsubscribe (RFC 8058).

The probe is a signed link with a public id that no reader has. `newsletter serve` treats it as the
link of an erased reader: the response is 200, and nothing changes. So the probe needs no reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from newsletter.doctor.findings import Finding, Level

ID = "oneclick"
#: Response headers of caches.
_CACHES = ("x-cache", "cf-cache-status", "x-cache-status", "x-proxy-cache")
_REQUESTS = "a mail client's unsubscribe request (POST)"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The result of one request: an HTTP response, or why there was none."""

    status: int = 0
    #: The headers, with names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Why there was no response; empty if there was one.
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Replies:
    """The replies to a POST as a form and as multipart, to a GET, and to a POST of a bad link."""

    form: Reply
    multipart: Reply
    page: Reply
    #: The reply to a link signed for another purpose, which only our own program refuses.
    bad: Reply


def judge(replies: Replies, *, url: str) -> Finding | None:
    """Return a finding if a reply is wrong, or None; `url` is the link without its token."""
    for reply in (replies.form, replies.multipart):
        if found := _of_post(reply, url):
            return found
    if replies.bad.status == 200:
        return _finding(
            f"{url} answers 200 to a link that nobody has signed: a login page, a cache or another "
            "program answers in place of `newsletter serve`.",
            "Let the proxy pass all of base_url to `newsletter serve`: docs/install.md has the "
            "blocks for nginx and Caddy.",
        )
    if replies.page.failure or replies.page.status != 200:
        return _finding(
            f"The unsubscribe link shows no page: {url} answers GET with {_words(replies.page)}.",
            "Let the proxy pass GET on as it passes POST.",
        )
    if any(_is_cached(each) for each in (replies.form, replies.multipart, replies.page)):
        return _finding(
            f"A cache answers for {url}: readers may be shown pages of others, and requests may "
            "not come through.",
            "Exempt base_url from the cache of the proxy or CDN; its pages say "
            "Cache-Control: no-store.",
        )
    if replies.bad.failure or replies.bad.status >= 500:
        return Finding(
            id=ID,
            level=Level.NOT_CHECKED,
            sentence=f"{url} takes a link that we have signed; whether it refuses others is not "
            f"known: it answered with {_words(replies.bad)}.",
            hint="Run `newsletter doctor --dns` again.",
        )
    return None


def _of_post(reply: Reply, url: str) -> Finding | None:
    if reply.failure:
        return _finding(
            f"{url} does not answer {_REQUESTS}: {reply.failure}.",
            "Look whether `newsletter serve` and the web server in front of it run. From inside "
            "your network the public address may not be reachable: then try from another machine.",
        )
    if 300 <= reply.status < 400:
        return _redirected(reply, url)
    if reply.status != 200:
        return _finding(
            f"{url} answers {_REQUESTS} with {reply.status}: {_cause(reply.status)}.",
            _WAYS_OUT.get(reply.status, _WAY_OUT),
        )
    if "set-cookie" in reply.headers:
        return _finding(
            f"{url} sets a cookie in answer to {_REQUESTS}; such a request has none, and whatever "
            "wants one back will refuse it.",
            "Have the proxy set no cookie for base_url: session stickiness, bot protection and "
            "consent banners do.",
        )
    return None


def _redirected(reply: Reply, url: str) -> Finding:
    here = urlsplit(url)
    try:
        there = urlsplit(urljoin(url, reply.headers.get("location", "")))
    except ValueError:
        there = here
    if here.scheme == "http" and there.scheme == "https":
        hint = "Let base_url begin with https://: links of mails that went out keep the old one."
    elif here.hostname != there.hostname:
        hint = f"Set base_url to the host that answers itself, if {there.hostname} is yours."
    else:
        hint = "Have the proxy pass the request on, without a redirect and without a login."
    shown = f"{there.scheme}://{there.netloc}"
    return _finding(
        f"{url} answers {_REQUESTS} with a redirect ({reply.status}) to {shown}, which mail "
        "clients do not follow (RFC 8058).",
        hint,
    )


_WAY_OUT = (
    "Let the proxy pass all of base_url to `newsletter serve`, and look at the log of both: "
    "docs/install.md has the blocks for nginx and Caddy."
)
_RUNS = "Look whether `newsletter serve` runs, and on the port that the proxy passes to."
_WAYS_OUT = {
    401: "Exempt base_url from the login; readers have none.",
    403: "Exempt base_url from the firewall, bot protection or CSRF check in front of it.",
    404: "Let the proxy pass the path on as it is, and run `newsletter serve` with this "
    "newsletter.toml.",
    405: "Allow POST: look for limit_except, static files or a read-only mirror.",
    413: "Raise the limit of a request's body (of nginx: client_max_body_size 64k).",
    429: "Raise the rate limit: mail providers send such requests from few addresses.",
    502: _RUNS,
    503: _RUNS,
    504: _RUNS,
}
_CAUSES = {
    401: "it asks for a login",
    403: "something in front of it refuses the request",
    404: "another program answers there, or it runs with other secret_keys",
    405: "it allows no POST",
    410: "another newsletter answers there",
    413: "it allows no body of that size",
    429: "a rate limit has been reached",
    502: "the proxy does not reach `newsletter serve`",
    503: "the proxy does not reach `newsletter serve`, or the database is not available",
    504: "the proxy does not reach `newsletter serve` in time",
}


def _cause(status: int) -> str:
    return _CAUSES.get(status, "our own program answers 200")


def _words(reply: Reply) -> str:
    return reply.failure or str(reply.status)


def _is_cached(reply: Reply) -> bool:
    age = reply.headers.get("age", "0").strip()
    is_aged = age.isascii() and age.isdigit() and age.strip("0") != ""
    says = (reply.headers.get(name, "").lower() for name in _CACHES)
    return is_aged or any("hit" in said and "miss" not in said for said in says)


def _finding(sentence: str, hint: str) -> Finding:
    return Finding(id=ID, level=Level.ERROR, sentence=sentence, hint=hint)
