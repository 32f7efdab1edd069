"""The types of settings, with their validation and normalisation.

A validator raises ValueError with the rest of a sentence that begins with the setting's name.
"""

from __future__ import annotations

import base64
import re
from datetime import date, time
from email.utils import getaddresses, parseaddr
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from newsletter import address, cadences, tokens, userinfo
from newsletter.errors import ConfigurationError, InvalidAddress
from newsletter.rendering import language as languages
from newsletter.return_path import PLACE, TOKEN_LENGTH
from newsletter.settings import mailboxes
from newsletter.smtp import server

_CONTROL = {*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\u2029"}
#: Bidirectional controls (UAX 9), with which a name could look like another one.
_BIDIRECTIONAL = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
_NETWORK_LOCATION = re.compile(r"[A-Za-z0-9._:\[\]-]{1,253}")
_LINK_START = re.compile(
    rf"https?://{_NETWORK_LOCATION.pattern}(?:/[A-Za-z0-9._~%!$&'()*+;=:@/-]*)?"
)
#: The argument of EHLO (RFC 5321 4.1.1.1): a domain, or an IP address in brackets.
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[A-Za-z0-9.:]{1,60}\]")
#: Query parameters (RFC 3986 3.4), percent-encoded as in a link.
_PARAMETERS = re.compile(
    r"(?:(?:[\w.~-]|%[0-9A-Fa-f]{2})+=(?:[\w.~+-]|%[0-9A-Fa-f]{2})*"
    r"(?:&(?:[\w.~-]|%[0-9A-Fa-f]{2})+=(?:[\w.~+-]|%[0-9A-Fa-f]{2})*)*)?",
    re.ASCII,
)

#: Characters that need no escape in the path of a URL.
_PATH_SECRET = re.compile(r"[A-Za-z0-9_-]{1,200}")
#: A DKIM selector (RFC 6376 3.1), which is a name below _domainkey.
_SELECTOR = re.compile(r"(?!.{101})[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*", re.ASCII)
_TOPIC = re.compile(r"arn:aws[a-z-]{0,12}:sns:[a-z0-9-]{1,32}:\d{12}:[\w.-]{1,256}", re.ASCII)
#: Minimum characters of a provider's password, and octets of a provider's key.
_LOGIN_LENGTH = 16
#: Maximum characters of a person's name, which the audit log has with the interface.
LONGEST_NAME = 90


#: Loopback, private and link-local networks (RFC 1918, 3927, 4193, 6598).
_INSIDE = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/127",
        "fc00::/7",
        "fe80::/10",
    )
]


class DomainLimit(BaseModel):
    """The limits of one destination domain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Maximum number of concurrent messages.
    connections: int | None = Field(None, ge=1, le=10_000)
    per_minute: float | None = Field(None, gt=0, le=1e6)


def address_of(mailbox: str) -> str:
    """Return the bare address in "Name <address>", its domain in A-labels."""
    return address.normalise(parseaddr(mailbox)[1], local=True)


def is_inside(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is local to this machine or a private network."""
    return any(address.version == one.version and address in one for one in _INSIDE)


@cache
def _zones() -> frozenset[str]:
    """Return the names of all time zones; cached, because finding them reads some 600 files."""
    return frozenset(available_timezones())


def _none_if_empty(value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
    return None if value == "" else value


def _split(value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _hard_to_guess(value: list[str]) -> list[str]:
    for key in value:
        try:
            tokens.check_key(key)
        except ConfigurationError as exc:
            raise ValueError("has a key that is short or a placeholder") from exc
    return value


def _no_number(value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
    # Converted to text, because pydantic reads a number as seconds since midnight: 7 as 00:00:07.
    return value if isinstance(value, str | time) else str(value)


def _local(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("must be a time without an offset: it is one of the setting timezone")
    return value


def _no_instant(value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
    # Refused without a hyphen, because pydantic reads a number as seconds since 1970.
    if value is not None and "-" not in str(value)[1:]:
        raise ValueError("must be a date such as 2026-11-23")
    return value


def _minutes(value: list[float]) -> list[float]:
    if not value or len(value) > 100 or not all(0 < minutes <= 20_160 for minutes in value):
        raise ValueError("must be minutes, each more than 0 and at most two weeks")
    return value


def _by_day(value: list[int]) -> list[int]:
    if not value or min(value) < 1:
        raise ValueError("must be a number of messages for each day, each at least 1")
    return value


def _by_domain(value: dict[str, DomainLimit]) -> dict[str, DomainLimit]:
    for domain in value:
        if domain != "*" and not _HOST_NAME.fullmatch(domain):
            raise ValueError(f"{domain!r} must be a domain such as gmail.com, or *")
    return {domain.lower(): limit for domain, limit in value.items()}


def _path_secret(value: str | None) -> str | None:
    if value is not None:
        _hard_to_guess([value])
        if not _PATH_SECRET.fullmatch(value):
            raise ValueError("must be letters, digits, - and _, as it stands in a URL")
    return value


def _topics(value: list[str]) -> list[str]:
    for topic in value:
        if not _TOPIC.fullmatch(topic):
            raise ValueError(
                "must be ARNs of SNS topics, such as arn:aws:sns:eu-central-1:123456789012:mails"
            )
    return value


def _sendgrid_key(value: str | None) -> str | None:
    if value is None:
        return None
    # Imported late, because most processes do not need cryptography.
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_der_public_key,
    )

    try:
        key = load_der_public_key(base64.b64decode(value, validate=True))
    except ValueError:
        key = None
    is_p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not is_p256:
        raise ValueError("must be the verification key of SendGrid, which begins with MFkw")
    return value


def _login(value: str | None) -> str | None:
    if value is not None:
        user, _, password = value.partition(":")
        if not user or len(password) < _LOGIN_LENGTH or not value.isascii():
            raise ValueError(
                f"must be user:password in ASCII, the password of at least {_LOGIN_LENGTH} "
                "random characters"
            )
    return value


def _webhook_key(value: str | None) -> str | None:
    if value is not None and (len(value) < _LOGIN_LENGTH or not value.isascii() or " " in value):
        raise ValueError(f"must be a key of at least {_LOGIN_LENGTH} characters, without blanks")
    return value


def _resend_key(value: str | None) -> str | None:
    if value is None:
        return None
    start, prefix, written = value.partition("whsec_")
    try:
        octets = base64.b64decode(written, validate=True)
    except ValueError:
        octets = b""
    if start or not prefix or len(octets) < _LOGIN_LENGTH:
        raise ValueError("must be whsec_ and base64, the signing secret of a webhook of Resend")
    return value


def _networks(value: list[str]) -> list[str]:
    found = []
    for network in value:
        try:
            found.append(str(ip_network(network)))
        except ValueError:
            raise ValueError(
                f"{network!r} must be an address or a network such as 10.0.0.0/8"
            ) from None
    return found


def _addresses(value: list[str]) -> list[str]:
    found = []
    for text in value:
        try:
            public = ip_address(text)
        except ValueError:
            raise ValueError(f"{text!r} must be an address such as 192.0.2.25") from None
        if is_inside(public):
            raise ValueError(f"{text!r} must be a public address: mailboxes never see that one")
        found.append(str(public))
    return found


def _selectors(value: list[str]) -> list[str]:
    for selector in value:
        if not _SELECTOR.fullmatch(selector):
            raise ValueError(
                f"{selector!r} must be a selector such as mail2026, the s= of a DKIM-Signature"
            )
    return [selector.lower() for selector in value]


def _one_line(value: str) -> str:
    folded = " ".join(value.split())
    if (_CONTROL | _BIDIRECTIONAL) & set(folded):
        raise ValueError("has a control character in it")
    return folded


def _not_empty(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _folder(value: Path | None) -> Path | None:
    # A missing folder is an error: if it were ignored, mails would have the built-in templates.
    if value is not None and not value.is_dir():
        raise ValueError(f"there is no folder {value}")
    return value


def _mailbox(value: str | None) -> str | None:
    if not value:
        return None
    if (_CONTROL | _BIDIRECTIONAL) & set(value):
        raise ValueError("has a control character in it")
    name, found = parseaddr(value)
    if {"<", ">"} & set(name):
        raise ValueError("the name must not have < or > in it")
    if len(getaddresses([value])) > 1:
        raise ValueError(
            'must be one mailbox: "Name <address>"; a name with a comma stands in quotes'
        )
    try:
        address.normalise(found, local=True)
    except InvalidAddress as exc:
        raise ValueError(f'must be "Name <address>": {exc}') from exc
    return value


def _envelope(value: str | None) -> str | None:
    if not parseaddr(value or "")[1].isascii():
        # The address is used in MAIL FROM, where many servers accept only ASCII.
        raise ValueError("the address must be ASCII: a domain as xn--..., a plain local part")
    return value


def _return_path(value: str | None) -> str | None:
    """Raise ValueError unless the value, with a token in place of `{token}`, is a return path."""
    written = value or ""
    local = written.rpartition("@")[0]
    if {"{", "}"} & set(written.replace(PLACE, "", 1)) or (PLACE in written) != (PLACE in local):
        raise ValueError(f"may have {PLACE} once, before the @, and nothing else in braces")
    if PLACE in local:
        _mailbox(written.replace(PLACE, "b-".ljust(TOKEN_LENGTH, "a")))
    return value


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin")
    return value


def _language(value: str) -> str:
    languages.parse(value)
    return value


def _weekday(value: str) -> str:
    cadences.parse_weekday(value)
    return value.lower()


def _web_address(value: str | None) -> str | None:
    if not value:
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("has a host or a port that cannot be one") from None
    if parts.scheme not in {"http", "https"} or not _NETWORK_LOCATION.fullmatch(parts.netloc):
        raise ValueError(
            "must start with https:// (or http://) and name a host, other scripts as xn--"
        )
    if not value.isprintable() or " " in value:
        raise ValueError("has a blank or a control character in it")
    return value.rstrip("/")


def _origin(value: str | None) -> str | None:
    """Return an origin as browsers spell it in the headers Origin and Host (RFC 6454 §6.2)."""
    if value is None:
        return None
    parts = urlsplit(value)
    if not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError("must be an address without a path, such as https://desk.example.com")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_usual = parts.port in {None, 443 if parts.scheme == "https" else 80}
    return f"{parts.scheme}://{host}" if is_usual else f"{parts.scheme}://{host}:{parts.port}"


def _person_names(value: list[str]) -> list[str]:
    for name in value:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise ValueError(f"has a name that is not 1 to {LONGEST_NAME} printable characters")
    return value


def _ping_url(value: str | None) -> str | None:
    found = _web_address(value)
    if found and "#" in found:
        raise ValueError("must have no # in it: paths such as /start are added to it")
    return found


def _link_start(value: str) -> str:
    """Raise ValueError for a URL that would break links or a header when paths are appended."""
    if len(value) > 500 or not _LINK_START.fullmatch(value):
        raise ValueError(
            "must be an address that links can start with, such as https://news.example.org: "
            "up to 500 characters, no user, no blank, no ? or #, and other scripts as xn--"
        )
    return value


def _query_parameters(value: str) -> str:
    value = value.strip().lstrip("?&")
    if len(value) > 300 or not _PARAMETERS.fullmatch(value):
        raise ValueError(
            "must be parameters such as utm_source=digest&utm_medium=email: names and values "
            "of letters, digits and . _ ~ - + %, other characters percent-encoded"
        )
    return value


def _header_name(text: str | None) -> str | None:
    """Return the name of an HTTP field (RFC 9110 §5.1), in lower case."""
    if text is not None and not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError("is not the name of a header; write it as X-Remote-User")
    return text.lower() if text else None


def _host_name(value: str | None) -> str | None:
    if value is not None and not _HOST_NAME.fullmatch(value):
        raise ValueError("must be a host name such as mail.example.org")
    return value


def _database_url(value: str) -> str:
    if not value.startswith("sqlite"):
        userinfo.check(value)
    return value


def _in_quotes(value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(url, str) for url in listed):
        raise ValueError("must be a URL in quotes, or a list of them")
    return value


def _mailbox_url(value: str | None) -> str | None:
    if value is not None:
        mailboxes.parse(value)
    return value


def _smtp_urls(value: str | list[str]) -> str | list[str]:
    server.parse(value)
    return value


# Order of validators: each BeforeValidator runs before pydantic's own, the last one first; each
# AfterValidator runs after it, the first one first.

#: Text on one line.
SingleLine = Annotated[str, AfterValidator(_one_line)]
#: Text on one line that is not empty.
Title = Annotated[
    str,
    Field(min_length=1, max_length=200),
    AfterValidator(_one_line),
    AfterValidator(_not_empty),
]
#: "Name <address>".
Mailbox = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_mailbox)]
#: "Name <address>" with an address for MAIL FROM, which may contain `{token}`.
ReturnPathAddress = Annotated[
    str | None,
    BeforeValidator(_none_if_empty),
    AfterValidator(_mailbox),
    AfterValidator(_envelope),
    AfterValidator(_return_path),
]
Sender = Annotated[
    str, AfterValidator(_not_empty), AfterValidator(_mailbox), AfterValidator(_envelope)
]
#: An http(s) URL, without a slash at its end.
WebAddress = Annotated[str | None, AfterValidator(_web_address)]
Origin = Annotated[WebAddress, AfterValidator(_origin)]
#: A URL of a monitor; requests go to paths below this URL.
PingUrl = Annotated[str | None, AfterValidator(_ping_url)]
#: An http(s) URL to which paths can be appended.
LinkStart = Annotated[
    str, AfterValidator(_not_empty), AfterValidator(_web_address), AfterValidator(_link_start)
]
QueryParameters = Annotated[str, AfterValidator(_query_parameters)]
HostName = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_host_name)]
HeaderName = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_header_name)]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None, BeforeValidator(_none_if_empty)
]
Folder = Annotated[Path | None, BeforeValidator(_none_if_empty), AfterValidator(_folder)]
Language = Annotated[str, AfterValidator(_language)]
Timezone = Annotated[str, AfterValidator(_zone)]
Weekday = Annotated[str, AfterValidator(_weekday)]
LocalTime = Annotated[time, BeforeValidator(_no_number), AfterValidator(_local)]
Day = Annotated[date | None, BeforeValidator(_no_instant), BeforeValidator(_none_if_empty)]
#: A list, which in the environment is written as words separated by commas.
Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]
PersonNames = Annotated[Words, AfterValidator(_person_names)]
Keys = Annotated[Words, AfterValidator(_hard_to_guess)]
PathSecret = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_path_secret)]
#: Values by which the events of providers are verified.
Topics = Annotated[Words, AfterValidator(_topics)]
SendgridKey = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_sendgrid_key)]
Login = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_login)]
WebhookKey = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_webhook_key)]
ResendKey = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_resend_key)]
Addresses = Annotated[Words, AfterValidator(_addresses)]
Selectors = Annotated[Words, AfterValidator(_selectors)]
Networks = Annotated[Words, AfterValidator(_networks)]
Minutes = Annotated[list[float], NoDecode, BeforeValidator(_split), AfterValidator(_minutes)]
ByDay = Annotated[list[int], NoDecode, BeforeValidator(_split), AfterValidator(_by_day)]
ByDomain = Annotated[dict[str, DomainLimit], AfterValidator(_by_domain)]
#: A limit; an empty environment variable means no limit.
Rate = Annotated[Annotated[float, Field(gt=0, le=1e6)] | None, BeforeValidator(_none_if_empty)]
Count = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_if_empty)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
SmtpUrls = Annotated[
    str | list[str], NoDecode, BeforeValidator(_in_quotes), AfterValidator(_smtp_urls)
]
MailboxUrl = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_mailbox_url)]
