"""Every setting, its default and what it means: environment over newsletter.toml over defaults.

A door reads them once (`load`) and passes the parts down; nothing below reads the environment.
`docs/settings.md` is generated from the descriptions here.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date, time, timedelta
from email.utils import getaddresses, parseaddr
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from newsletter import address, cadences, tokens, userinfo
from newsletter.cadences import Cadence
from newsletter.errors import ConfigurationError, InvalidAddress, NewsletterError
from newsletter.rendering import language as languages
from newsletter.rendering.content import Brand, Image
from newsletter.settings import wording
from newsletter.smtp import server

#: Where settings are looked for when --config does not name another file.
DEFAULT_FILE = Path("newsletter.toml")
_CONTROL = {*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\u2029"}
#: Bidirectional controls (UAX 9): with them a name could look like another one.
_BIDIRECTIONAL = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
_NETWORK_LOCATION = re.compile(r"[A-Za-z0-9._:\[\]-]{1,253}")
_LINK_START = re.compile(
    rf"https?://{_NETWORK_LOCATION.pattern}(?:/[A-Za-z0-9._~%!$&'()*+;=:@/-]*)?"
)
#: What EHLO takes (RFC 5321 4.1.1.1): a domain, or an address in brackets.
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[A-Za-z0-9.:]{1,60}\]")
#: Query parameters (RFC 3986 3.4), written as they are to stand in a link.
_PARAMETERS = re.compile(
    r"(?:(?:[\w.~-]|%[0-9A-Fa-f]{2})+=(?:[\w.~+-]|%[0-9A-Fa-f]{2})*"
    r"(?:&(?:[\w.~-]|%[0-9A-Fa-f]{2})+=(?:[\w.~+-]|%[0-9A-Fa-f]{2})*)*)?",
    re.ASCII,
)
#: The setting in the error for an environment variable that cannot be parsed.
_NAMED = re.compile(r'field "(\w+)"')


class DomainLimit(BaseModel):
    """The limits of one destination domain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Messages at the same time.
    connections: int | None = Field(None, ge=1, le=10_000)
    per_minute: float | None = Field(None, gt=0, le=1e6)


@cache
def _zones() -> frozenset[str]:
    """Return the names of all time zones; to find them takes a walk through some 600 files."""
    return frozenset(available_timezones())


class Settings(BaseSettings):
    """The settings of one publication."""

    model_config = SettingsConfigDict(
        env_prefix="NEWSLETTER_",
        frozen=True,
        extra="forbid",
        validate_default=True,
        # Of this class and the one without the environment, one is used.
        defer_build=True,
    )

    # The publication
    name: str = Field(
        "Newsletter", min_length=1, max_length=200, description="The publication's name."
    )
    tagline: str = Field("", description="One line under the name.")
    sender: str = Field(
        "Newsletter <newsletter@localhost>",
        description='The one From address: "Name <address>".',
    )
    reply_to: str | None = Field(None, description="Where answers go, if not to the sender.")
    postal_address: str = Field(
        "", description="The sender's postal address; the law asks for it in every mail."
    )
    base_url: str = Field(
        "http://localhost:8000",
        description="Where `newsletter serve` is reached: links for readers start with it.",
    )
    site_url: str | None = Field(None, description="The publication's own site, if elsewhere.")
    language: str = Field("en", description="Language of mails and pages (BCP 47).")
    timezone: str = Field("UTC", description="Time zone of send times and dates (IANA name).")
    accent: str = Field(
        "#0b6e6e",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="The one accent colour; darkened or lightened until it can be read.",
    )
    logo_url: str | None = Field(None, description="An image for the masthead.")
    logo_width: int = Field(160, ge=16, le=600, description="Width of the logo in pixels.")
    logo_height: int = Field(40, ge=8, le=400, description="Height of the logo in pixels.")
    why: str = Field(
        "", description="The footer's reason for the mail; by default it names the site."
    )
    box_headline: str = Field("", description="The sign-up box's headline; by default, in words.")
    box_sentence: str = Field("", description="The one sentence under the box's headline.")
    box_button: str = Field("", description="The word on the box's button.")
    box_note: str = Field("", description="The line under the button.")
    templates: Path | None = Field(
        None,
        description="A folder whose templates take the place of the built-in ones, file by file: "
        "`newsletter templates copy` puts some into it.",
    )

    # The readers' pages
    box_cadence: Cadence = Field(
        Cadence.WEEKLY, description="The cadence that the box has chosen at first."
    )
    archive: bool = Field(
        default=False, description="Let everyone read past editions, at /editions."
    )
    goodbye_letter: bool = Field(
        default=False, description="Write to readers who have left, with a link to undo it."
    )
    altcha: bool = Field(
        default=False,
        description="Ask for a proof of work (ALTCHA) with each sign-up: half a second of a "
        "browser that runs scripts.",
    )
    signups_per_machine: int = Field(
        20,
        ge=1,
        description="Sign-ups that one network address may make in an hour: one of IPv4, or a /64 "
        "of IPv6. A /56 may make twice as many, a /48 four times.",
    )
    signups_in_all: int = Field(
        2_000,
        ge=1,
        description="Sign-ups that are taken in an hour; of them no /48 of IPv6 and no /24 of IPv4 "
        "gets more than a quarter.",
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Addresses or networks of the proxies in front of `newsletter serve`; only "
        "their X-Forwarded-For is believed. In the environment: separated by commas.",
    )
    api_keys: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        repr=False,
        description="Keys of the site's own back end for /api/v1, which is closed without one; "
        "32 random characters each. In the environment: separated by commas.",
    )

    # Editions
    daily_at: time = Field(time(7), description="Local time of the daily edition.")
    weekly_on: str = Field("monday", description="Day of the weekly edition.")
    weekly_at: time = Field(time(7), description="Local time of the weekly edition.")
    monthly_on: int = Field(
        1, ge=1, le=31, description="Day of the monthly edition; the last day of a shorter month."
    )
    monthly_at: time = Field(time(7), description="Local time of the monthly edition.")
    cron_tolerance_hours: float = Field(
        6,
        ge=0,
        le=8_784,
        description="`newsletter cron` makes no edition that is later than this (hours).",
    )
    min_articles: int = Field(1, ge=1, description="Fewer new articles skip the edition.")
    catch_up_days: int = Field(
        62,
        ge=1,
        le=3_653,
        description="A reader who was away catches up on articles this old (days).",
    )
    catch_up_articles: int = Field(
        200,
        ge=1,
        le=500,
        description="No digest has more articles than this; of each feed the newest stay.",
    )

    skip_categories: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Articles of these categories are left out of every edition, in upper or lower "
        "case. In the environment: separated by commas.",
    )

    # Feeds
    feed_private_networks: bool = Field(
        default=False, description="Let feeds come from loopback and private networks."
    )
    feed_max_bytes: int = Field(
        10_000_000, ge=1_000, description="A larger feed is refused (octets, unpacked)."
    )
    feed_timeout_seconds: float = Field(
        30, gt=0, le=3_600, description="A feed that takes longer is refused (seconds, in all)."
    )

    strip_tracking: bool = Field(
        default=True,
        description="Links of feeds lose what only says who sent a reader (utm_source, fbclid and "
        "the like), and keep all that identifies the page. If false, they stay as the feed has "
        "them, and the same page in two feeds may go out twice.",
    )
    link_parameters: str = Field(
        "",
        description="Added to each link of an article in a mail, in place of parameters of the "
        'same names: "utm_source=digest&utm_medium=email". Every reader gets the same.',
    )

    # Storage
    database_url: str = Field(
        "sqlite:///newsletter.db",
        repr=False,
        description="sqlite:///FILE, or postgresql://user:password@host/database.",
    )
    secret_keys: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        repr=False,
        description="Keys that sign links, newest first; 32 random characters each. "
        "In the environment: separated by commas. Keep old ones: their links stay alive.",
    )

    # The mail server
    smtp_url: Annotated[str | list[str], NoDecode] = Field(
        "smtp://localhost:25",
        repr=False,
        description="smtp://, smtp+starttls:// or smtps:// with user, password, host and port. "
        "smtp:// to another machine needs STARTTLS too, unless smtp_plaintext is set. "
        "Several relays are a list (in the environment: separated by blanks or commas) and share "
        "the connections; one with ?weight=3 at its end (1 to 100) gets three times as many.",
    )
    smtp_plaintext: bool = Field(
        default=False, description="Let smtp:// go to another machine without encryption."
    )
    smtp_connections: int = Field(
        4,
        ge=1,
        le=500,
        description="Connections to the mail server, or to all relays together, at the same time.",
    )
    smtp_hostname: str | None = Field(
        None, description="The name to say in EHLO, if not this machine's."
    )
    return_path: str | None = Field(
        None, description="Where bounces go (envelope sender), if not to the sender's address."
    )
    unknown_policy: Literal["resend", "hold"] = Field(
        "resend",
        description="A message that may or may not have arrived is sent again, same bytes and "
        "Message-ID (resend), or held for the operator (hold).",
    )
    retry_minutes: Annotated[list[float], NoDecode] = Field(
        default_factory=lambda: [5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0],
        description="How long to wait after the first, second ... try that was put off, up to a "
        "fifth longer by chance; the last one counts from then on, until the edition is stale.",
    )
    limit_per_second: float | None = Field(
        None, gt=0, le=1e6, description="No more messages than this in any second."
    )
    limit_per_hour: int | None = Field(
        None, ge=1, description="No more messages than this in any hour, over restarts, too."
    )
    limit_per_day: int | None = Field(
        None, ge=1, description="No more messages than this in any 24 hours."
    )
    warm_up_from: date | None = Field(
        None,
        description="The first day of a new sender (2026-11-23): from then on warm_up counts.",
    )
    warm_up: Annotated[list[int], NoDecode] = Field(
        default_factory=lambda: [
            50,
            100,
            500,
            1_000,
            5_000,
            10_000,
            20_000,
            40_000,
            70_000,
            100_000,
            150_000,
            250_000,
            400_000,
            600_000,
        ],
        description="No more messages than this on the first, second ... day; then as many as the "
        "other limits allow.",
    )
    domain_limits: dict[str, DomainLimit] = Field(
        default_factory=dict,
        description='Limits of destination domains, * for all others: { "gmail.com" = '
        "{ connections = 10, per_minute = 600 } }. In the environment: JSON. Without one, a domain "
        "that has had enough of us is slowed down by what it says, and sped up again.",
    )
    full_mailboxes: int = Field(
        3,
        ge=0,
        le=100,
        description="An address is suppressed whose mailbox was full for so many mails in a row; "
        "0 for never.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults."""
        return env_settings, init_settings

    @field_validator(
        "templates",
        "smtp_hostname",
        "reply_to",
        "return_path",
        "limit_per_second",
        "limit_per_hour",
        "limit_per_day",
        "warm_up_from",
        mode="before",
    )
    @classmethod
    def _none_if_empty(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
        return None if value == "" else value

    @field_validator(
        "secret_keys",
        "api_keys",
        "trusted_proxies",
        "retry_minutes",
        "warm_up",
        "skip_categories",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        return value

    @field_validator("api_keys")
    @classmethod
    def _hard_to_guess(cls, value: list[str]) -> list[str]:
        for key in value:
            try:
                tokens.check_key(key)
            except ConfigurationError as exc:
                raise ValueError("has a key that is short or a placeholder") from exc
        return value

    @field_validator("daily_at", "weekly_at", "monthly_at", mode="before")
    @classmethod
    def _no_number(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
        # Pydantic reads a number as seconds since midnight: 7 would be 00:00:07.
        return value if isinstance(value, str | time) else str(value)

    @field_validator("daily_at", "weekly_at", "monthly_at")
    @classmethod
    def _local_time(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("must be a time without an offset: it is one of the setting timezone")
        return value

    @field_validator("warm_up_from", mode="before")
    @classmethod
    def _no_instant(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
        # Pydantic reads a number as seconds since 1970.
        if value is not None and "-" not in str(value)[1:]:
            raise ValueError("must be a date such as 2026-11-23")
        return value

    @field_validator("retry_minutes")
    @classmethod
    def _minutes(cls, value: list[float]) -> list[float]:
        if not value or len(value) > 100 or not all(0 < minutes <= 20_160 for minutes in value):
            raise ValueError("must be minutes, each more than 0 and at most two weeks")
        return value

    @field_validator("warm_up")
    @classmethod
    def _days(cls, value: list[int]) -> list[int]:
        if not value or min(value) < 1:
            raise ValueError("must be a number of messages for each day, each at least 1")
        return value

    @field_validator("domain_limits")
    @classmethod
    def _domains(cls, value: dict[str, DomainLimit]) -> dict[str, DomainLimit]:
        for domain in value:
            if domain != "*" and not _HOST_NAME.fullmatch(domain):
                raise ValueError(f"{domain!r} must be a domain such as gmail.com, or *")
        return {domain.lower(): limit for domain, limit in value.items()}

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        found = []
        for network in value:
            try:
                found.append(str(ip_network(network)))
            except ValueError:
                raise ValueError(
                    f"{network!r} must be an address or a network such as 10.0.0.0/8"
                ) from None
        return found

    @field_validator(
        "name",
        "tagline",
        "postal_address",
        "why",
        "box_headline",
        "box_sentence",
        "box_button",
        "box_note",
    )
    @classmethod
    def _one_line(cls, value: str) -> str:
        folded = " ".join(value.split())
        if (_CONTROL | _BIDIRECTIONAL) & set(folded):
            raise ValueError("has a control character in it")
        return folded

    @field_validator("name", "sender", "base_url")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be empty")
        return value

    @field_validator("templates")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        # If it were ignored, mails would go out with the built-in templates.
        if value is not None and not value.is_dir():
            raise ValueError(f"there is no folder {value}")
        return value

    @field_validator("sender", "reply_to", "return_path")
    @classmethod
    def _mailbox(cls, value: str | None) -> str | None:
        if value is None or not value:
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

    @field_validator("sender", "return_path")
    @classmethod
    def _envelope(cls, value: str | None) -> str | None:
        if not parseaddr(value or "")[1].isascii():
            # It stands in MAIL FROM, where many servers accept nothing else.
            raise ValueError("the address must be ASCII: a domain as xn--..., a plain local part")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _zones():
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin")
        return value

    @field_validator("language")
    @classmethod
    def _known_language(cls, value: str) -> str:
        languages.parse(value)
        return value

    @field_validator("weekly_on")
    @classmethod
    def _known_day(cls, value: str) -> str:
        cadences.parse_weekday(value)
        return value.lower()

    @field_validator("base_url", "site_url", "logo_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is None or not value:
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

    @field_validator("base_url")
    @classmethod
    def _start_of_links(cls, value: str) -> str:
        """Refuse what would break links: paths are appended to it, and a header has it."""
        if len(value) > 500 or not _LINK_START.fullmatch(value):
            raise ValueError(
                "must be an address that links can start with, such as https://news.example.org: "
                "up to 500 characters, no user, no blank, no ? or #, and other scripts as xn--"
            )
        return value

    @field_validator("link_parameters")
    @classmethod
    def _query_parameters(cls, value: str) -> str:
        value = value.strip().lstrip("?&")
        if len(value) > 300 or not _PARAMETERS.fullmatch(value):
            raise ValueError(
                "must be parameters such as utm_source=digest&utm_medium=email: names and values "
                "of letters, digits and . _ ~ - + %, other characters percent-encoded"
            )
        return value

    @field_validator("smtp_hostname")
    @classmethod
    def _host_name(cls, value: str | None) -> str | None:
        if value is not None and not _HOST_NAME.fullmatch(value):
            raise ValueError("must be a host name such as mail.example.org")
        return value

    @field_validator("database_url")
    @classmethod
    def _database_address(cls, value: str) -> str:
        if not value.startswith("sqlite"):
            userinfo.check(value)
        return value

    @field_validator("smtp_url", mode="before")
    @classmethod
    def _urls_in_quotes(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the source holds
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(url, str) for url in listed):
            raise ValueError("must be a URL in quotes, or a list of them")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp_address(cls, value: str | list[str]) -> str | list[str]:
        server.parse(value)
        return value

    @property
    def sender_address(self) -> str:
        """The bare address in `sender`."""
        return _address(self.sender)

    @property
    def sender_name(self) -> str:
        """The display name in `sender`, or the publication's name."""
        return parseaddr(self.sender)[0] or self.name

    @property
    def sender_domain(self) -> str:
        """The domain of `sender`; Message-IDs and List-Id end in it."""
        return self.sender_address.rpartition("@")[2]

    @property
    def bounce_address(self) -> str:
        """The envelope sender: where bounces go."""
        return parseaddr(self.return_path or "")[1] or self.sender_address

    @property
    def reply_to_address(self) -> str | None:
        """The bare address in `reply_to`."""
        return _address(self.reply_to) if self.reply_to else None

    @property
    def zone(self) -> ZoneInfo:
        """The publication's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def send_times(self) -> cadences.SendTimes:
        """When editions are due."""
        return cadences.SendTimes(
            timezone=self.timezone,
            daily_at=self.daily_at,
            weekly_on=cadences.parse_weekday(self.weekly_on),
            weekly_at=self.weekly_at,
            monthly_on=self.monthly_on,
            monthly_at=self.monthly_at,
        )

    @property
    def retry_waits(self) -> list[timedelta]:
        """The back-off: how long to wait after each deferred try."""
        return [timedelta(minutes=minutes) for minutes in self.retry_minutes]

    def keyring(self) -> tokens.Keyring:
        """Return the keys that sign links; raise ConfigurationError without good ones."""
        return tokens.Keyring(self.secret_keys)

    def brand(self) -> Brand:
        """Return the publisher's name, address and look, as mails and pages show them."""
        site = self.site_url or self.base_url
        return Brand(
            name=self.name,
            tagline=self.tagline,
            site_url=site,
            sender=f"{self.sender_name} <{self.sender_address}>",
            reply_to=_spelled(self.reply_to) if self.reply_to else None,
            postal_address=self.postal_address,
            # RFC 2919 §2: a name under the sender's own domain, the same for ever.
            list_id=self.sender_address.replace("@", "."),
            accent=self.accent,
            logo=self._logo(),
            language=self.language,
            why=self.why,
        )

    def _logo(self) -> Image | None:
        if not self.logo_url:
            return None
        return Image(
            url=self.logo_url, alt=self.name, width=self.logo_width, height=self.logo_height
        )

    def smtp_servers(self) -> list[server.SmtpServer]:
        """Return the mail servers that `smtp_url` names, in its order."""
        return server.parse(
            self.smtp_url, hostname=self.smtp_hostname, allows_plaintext=self.smtp_plaintext
        )


class _OfFile(Settings):
    """Settings of the file alone, without the environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file over the defaults."""
        return (init_settings,)


def load(file: Path | None = None, *, environment: bool = True) -> Settings:
    """Read the settings; raise ConfigurationError naming each bad one and the way out.

    Without `environment` they are those of the file alone.
    """
    kind = Settings if environment else _OfFile
    try:
        return kind(**_read(file))
    except ValidationError as exc:
        raise _explained(exc) from exc
    except SettingsError as exc:
        found = _NAMED.search(str(exc))
        raise ConfigurationError(
            f"NEWSLETTER_{found[1].upper() if found else '*'} in the environment cannot be read.",
            setting=found[1] if found else None,
            hint="There it is JSON; docs/settings.md has an example.",
        ) from exc
    except NewsletterError as exc:
        raise ConfigurationError(exc.message, hint=exc.hint) from exc


def _address(mailbox: str) -> str:
    return address.normalise(parseaddr(mailbox)[1], local=True)


def _spelled(mailbox: str) -> str:
    """Return "Name <address>" with the domain in A-labels, as a header takes it."""
    name = parseaddr(mailbox)[0]
    return f"{name} <{_address(mailbox)}>" if name else _address(mailbox)


def _read(file: Path | None) -> dict[str, Any]:
    path = file or DEFAULT_FILE
    if not path.is_file():
        if file is None:
            return {}
        raise ConfigurationError(
            f"There is no settings file {file}.", hint="Run `newsletter init` to write one."
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}.") from exc


def _explained(exc: ValidationError) -> ConfigurationError:
    errors = exc.errors(include_url=False)
    names = [str(error["loc"][0]) if error["loc"] else "settings" for error in errors]
    return ConfigurationError(
        " ".join(map(wording.sentence, errors)),
        setting=names[0],
        hint="Mend it in newsletter.toml, or in the environment as "
        + ", ".join(f"NEWSLETTER_{name.upper()}" for name in dict.fromkeys(names))
        + ". docs/settings.md lists every setting.",
    )
