"""All settings with defaults and descriptions: environment over newsletter.toml over defaults.

Commands and the web server load them once (`load`) and pass parts of them down; no other code reads
the environment. `docs/settings.md` is generated from the descriptions here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import time, timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from newsletter import cadences, tokens, userinfo
from newsletter.cadences import Cadence
from newsletter.errors import ConfigurationError, NewsletterError
from newsletter.rendering.content import Brand, Image
from newsletter.settings import mailboxes, wording
from newsletter.settings.values import (
    Addresses,
    ByDay,
    ByDomain,
    Count,
    DatabaseUrl,
    Day,
    Folder,
    HeaderName,
    HostName,
    Keys,
    Language,
    LinkStart,
    LocalTime,
    Login,
    LogLevel,
    Mailbox,
    MailboxUrl,
    Minutes,
    Networks,
    Origin,
    PathSecret,
    PersonNames,
    PingUrl,
    QueryParameters,
    Rate,
    ResendKey,
    ReturnPathAddress,
    Selectors,
    Sender,
    SendgridKey,
    SingleLine,
    SmtpUrls,
    Timezone,
    Title,
    Topics,
    WebAddress,
    WebhookKey,
    Weekday,
    Words,
    address_of,
)
from newsletter.smtp import server

#: The file with the settings, unless --config is given.
DEFAULT_FILE = Path("newsletter.toml")
#: Finds the setting in the error for an environment variable that cannot be parsed.
_NAMED = re.compile(r'field "(\w+)"')


#: For providers that replace the Message-ID of mails: the setting with which mails have an extra
#: header, its name, and its value, in which our Message-ID replaces %s. The provider's events
#: return the header.
_EVENT_HEADERS = (
    ("postmark_login", "X-PM-Metadata-message-id", "%s"),
    ("mailgun_key", "X-Mailgun-Variables", '{"message-id": "%s"}'),
    ("resend_key", "X-Message-ID", "<%s>"),
)
#: The settings of providers, none of which has an effect without a hook.
_HOOKS = (
    "ses_topics",
    "sendgrid_key",
    "postmark_login",
    "mailgun_key",
    "resend_key",
    "generic_hook_key",
)
#: Maximum characters of a Message-ID's domain, because a value of Postmark's metadata has at most
#: 80.
_LONGEST_DOMAIN = 80 - len("0123456789abcdef.0123456789abcdef@")


class Settings(BaseSettings):
    """The settings of one publication."""

    model_config = SettingsConfigDict(
        env_prefix="NEWSLETTER_",
        frozen=True,
        extra="forbid",
        validate_default=True,
        # Deferred, because each process uses only one of Settings and _OfFile.
        defer_build=True,
    )

    #: Whether the environment counts, too.
    reads_environment: ClassVar[bool] = True

    # The publication
    name: Title = Field("Newsletter", description="The publication's name.")
    tagline: SingleLine = Field("", description="One line under the name.")
    sender: Sender = Field(
        "Newsletter <newsletter@localhost>",
        description='The one From address: "Name <address>".',
    )
    reply_to: Mailbox = Field(None, description="Where answers go, if not to the sender.")
    postal_address: SingleLine = Field(
        "", description="The sender's postal address; the law asks for it in every mail."
    )
    base_url: LinkStart = Field(
        "http://localhost:8000",
        description="Where `newsletter serve` is reached: links for readers start with it.",
    )
    site_url: WebAddress = Field(None, description="The publication's own site, if elsewhere.")
    language: Language = Field("en", description="Language of mails and pages (BCP 47).")
    timezone: Timezone = Field("UTC", description="Time zone of send times and dates (IANA name).")
    accent: str = Field(
        "#0b6e6e",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="The one accent colour; darkened or lightened until it can be read.",
    )
    logo_url: WebAddress = Field(None, description="An image for the masthead.")
    logo_width: int = Field(160, ge=16, le=600, description="Width of the logo in pixels.")
    logo_height: int = Field(40, ge=8, le=400, description="Height of the logo in pixels.")
    why: SingleLine = Field(
        "", description="The footer's reason for the mail; by default it names the site."
    )
    box_headline: SingleLine = Field(
        "", description="The sign-up box's headline; by default, in words."
    )
    box_sentence: SingleLine = Field("", description="The one sentence under the box's headline.")
    box_button: SingleLine = Field("", description="The word on the box's button.")
    box_note: SingleLine = Field("", description="The line under the button.")
    templates: Folder = Field(
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
    trusted_proxies: Networks = Field(
        default_factory=list,
        description="Addresses or networks of the proxies in front of `newsletter serve`; only "
        "their X-Forwarded-For is believed. In the environment: separated by commas.",
    )
    api_keys: Keys = Field(
        default_factory=list,
        repr=False,
        description="Keys of the site's own back end for /api/v1, which is closed without one; "
        "32 random characters each. In the environment: separated by commas.",
    )

    # What comes back
    hook_secret: PathSecret = Field(
        None,
        repr=False,
        description="The end of the path to which a provider posts its events, "
        "/hooks/PROVIDER/SECRET: 32 random letters and digits or more. Without it there are no "
        "hooks, and of a provider none without its own setting below.",
    )
    ses_topics: Topics = Field(
        default_factory=list,
        repr=False,
        description="The SNS topics (ARN) of Amazon SES, whose messages alone are believed. In "
        "the environment: separated by commas.",
    )
    sendgrid_key: SendgridKey = Field(
        None,
        repr=False,
        description="The verification key of SendGrid's signed event webhook, in base64.",
    )
    postmark_login: Login = Field(
        None,
        repr=False,
        description="user:password of Postmark's webhooks (HTTP basic authentication). With it, "
        "each mail has a header X-PM-Metadata-message-id, by which Postmark's events name it.",
    )
    mailgun_key: WebhookKey = Field(
        None,
        repr=False,
        description="Mailgun's HTTP webhook signing key. With it, each mail has a header "
        "X-Mailgun-Variables.",
    )
    resend_key: ResendKey = Field(
        None,
        repr=False,
        description="The signing secret of Resend's webhook, which begins with whsec_. With it, "
        "each mail has a header X-Message-ID.",
    )
    generic_hook_key: WebhookKey = Field(
        None,
        repr=False,
        description="The key that signs events in a form of our own, from any other provider: "
        "docs/hooks.md has it.",
    )

    # Editions
    daily_at: LocalTime = Field(time(7), description="Local time of the daily edition.")
    weekly_on: Weekday = Field("monday", description="Day of the weekly edition.")
    weekly_at: LocalTime = Field(time(7), description="Local time of the weekly edition.")
    monthly_on: int = Field(
        1, ge=1, le=31, description="Day of the monthly edition; the last day of a shorter month."
    )
    monthly_at: LocalTime = Field(time(7), description="Local time of the monthly edition.")
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

    skip_categories: Words = Field(
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
    link_parameters: QueryParameters = Field(
        "",
        description="Added to each link of an article in a mail, in place of parameters of the "
        'same names: "utm_source=digest&utm_medium=email". Every reader gets the same.',
    )
    count_clicks: bool = Field(
        default=False,
        description="Whether to count how often each article of a digest is opened, never by whom: "
        "links then lead through `newsletter serve`, and the mail says so.",
    )

    # Storage
    database_url: DatabaseUrl = Field(
        "sqlite:///newsletter.db",
        repr=False,
        description="sqlite:///FILE, or postgresql://user:password@host/database.",
    )
    secret_keys: Words = Field(
        default_factory=list,
        repr=False,
        description="Keys that sign links, newest first; 32 random characters each. "
        "In the environment: separated by commas. Keep old ones: their links stay alive.",
    )

    # The mail server
    smtp_url: SmtpUrls = Field(
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
    smtp_hostname: HostName = Field(
        None, description="The name to say in EHLO, if not this machine's."
    )
    sending_addresses: Addresses = Field(
        default_factory=list,
        description="The public addresses that mail leaves from, where smtp_url does not tell: "
        "with a relay on this machine, or one that has others do it. `newsletter doctor` looks "
        "for them in SPF, in reverse DNS and on blocklists. In the environment: separated by "
        "commas.",
    )
    dkim_selectors: Selectors = Field(
        default_factory=list,
        description="The selectors of the DKIM keys that the relay signs with (s= in the "
        "DKIM-Signature of a mail from it), so that `newsletter doctor` can look at the "
        "keys. In the environment: separated by commas.",
    )
    return_path: ReturnPathAddress = Field(
        None,
        description="Where bounces go (envelope sender), if not to the sender's address. With "
        "{token} in its local part, as in bounces+{token}@example.org or {token}@b.example.org, "
        "it names the reader, signed: a bounce then says whose it is, whatever else is in it.",
    )
    feedback_url: MailboxUrl = Field(
        None,
        repr=False,
        description="The mailbox that returned mails come to: imaps://user:password@host/INBOX or "
        "pop3s://user:password@host, or the path of a Maildir or an mbox file. imap:// and "
        "pop3:// to another machine need STARTTLS.",
    )
    feedback_folder: SingleLine = Field(
        "Newsletter/Processed",
        description="Mails of that mailbox that were understood are moved to this folder, with / "
        "between its levels; if empty, they are deleted. By POP3 they are always deleted, and an "
        "mbox file is not changed.",
    )
    unknown_policy: Literal["resend", "hold"] = Field(
        "resend",
        description="A message that may or may not have arrived is sent again, same bytes and "
        "Message-ID (resend), or held for the operator (hold).",
    )
    retry_minutes: Minutes = Field(
        default_factory=lambda: [5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0],
        description="How long to wait after the first, second ... try that was put off, up to a "
        "fifth longer by chance; the last one counts from then on, until the edition is stale.",
    )
    limit_per_second: Rate = Field(None, description="No more messages than this in any second.")
    limit_per_hour: Count = Field(
        None, description="No more messages than this in any hour, over restarts, too."
    )
    limit_per_day: Count = Field(None, description="No more messages than this in any 24 hours.")
    warm_up_from: Day = Field(
        None,
        description="The first day of a new sender (2026-11-23): from then on warm_up counts.",
    )
    warm_up: ByDay = Field(
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
    domain_limits: ByDomain = Field(
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

    bounce_alarm: float = Field(
        5,
        ge=0,
        le=100,
        description="An edition of which more than this bounces (percent, from 20 bounces on) is "
        "paused while it is still being sent; 0 for never.",
    )
    complaint_alarm: float = Field(
        0.1,
        ge=0,
        le=100,
        description="The same for complaints (percent, from 5 on). Mailbox providers want less "
        "than 0.1.",
    )

    # The log
    log_format: Literal["text", "json"] = Field(
        "text",
        description="The lines that `newsletter worker` and `newsletter serve` write to standard "
        "error: text for people, or json with one object a line. docs/logs.md has every event.",
    )
    log_level: LogLevel = Field(
        None,
        description="From which level on: debug (every SMTP try), info, warning or error. Without "
        "it, worker and serve log from info on, and cron and send not at all: they say in words "
        "what is news, and cron mails nothing when all is well. With it, they log, too.",
    )
    # The desk
    desk_url: Origin = Field(
        None,
        description="Where the desk is reached through a web server with TLS; links to sign in "
        "start with it. Without it the desk answers on this machine only.",
    )
    desk_trusted_header: HeaderName = Field(
        None,
        description="The header in which a proxy that has signed somebody in gives the name, such "
        "as X-Remote-User. Believed only from desk_trusted_peers, for desk_trusted_names; the "
        "proxy has to remove it from every request that comes in with it.",
    )
    desk_trusted_peers: Networks = Field(
        default_factory=list,
        description="Addresses or networks of those proxies. In the environment: separated by "
        "commas.",
    )
    desk_trusted_names: PersonNames = Field(
        default_factory=list,
        description="The names that may in by that header, and nobody else. In the environment: "
        "separated by commas.",
    )

    # Is all well
    ping_url: PingUrl = Field(
        None,
        repr=False,
        description="A monitor in the form of healthchecks.io: each run of `newsletter cron`, and "
        "of the schedule of `newsletter worker --schedule`, posts to URL/start and then, with what "
        "it printed, to URL/0, or to another exit status if it failed.",
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
        """Give the environment precedence over the file, and the file over the defaults."""
        return env_settings, init_settings

    @field_validator(*_HOOKS)
    @classmethod
    def _has_path(cls, value: object, info: ValidationInfo) -> object:
        if value and info.data.get("hook_secret", "wrong") is None:
            raise ValueError("needs hook_secret, the end of the hook's path")
        return value

    @field_validator("desk_trusted_names")
    @classmethod
    def _is_complete(cls, value: list[str], info: ValidationInfo) -> list[str]:
        given = info.data.get("desk_trusted_header"), info.data.get("desk_trusted_peers"), value
        if any(given) and not all(given):
            raise ValueError(
                "and desk_trusted_header and desk_trusted_peers go together: set all three, or none"
            )
        return value

    @field_validator("postmark_login")
    @classmethod
    def _returns_message_ids(cls, value: str | None, info: ValidationInfo) -> str | None:
        domain = address_of(info.data.get("sender", "")).rpartition("@")[2] if value else ""
        if len(domain) > _LONGEST_DOMAIN:
            raise ValueError(
                f"needs a sender whose domain has at most {_LONGEST_DOMAIN} characters: longer "
                "Message-IDs do not come back from Postmark"
            )
        return value

    @property
    def sender_address(self) -> str:
        """The bare address in `sender`."""
        return address_of(self.sender)

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
        """The envelope sender, to which bounces are sent."""
        return parseaddr(self.return_path or "")[1] or self.sender_address

    @property
    def reply_to_address(self) -> str | None:
        """The bare address in `reply_to`."""
        return address_of(self.reply_to) if self.reply_to else None

    @property
    def zone(self) -> ZoneInfo:
        """The publication's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def send_times(self) -> cadences.SendTimes:
        """The local times and days at which editions are due."""
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
        """The back-off: the wait after each deferred try."""
        return [timedelta(minutes=minutes) for minutes in self.retry_minutes]

    def keyring(self) -> tokens.Keyring:
        """Return the keys that sign links; raise ConfigurationError if they are missing or weak."""
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
            # RFC 2919 §2: a name below the sender's own domain that never changes.
            list_id=self.sender_address.replace("@", "."),
            accent=self.accent,
            logo=self._logo(),
            language=self.language,
            why=self.why,
            event_headers=tuple(
                (name, value) for given, name, value in _EVENT_HEADERS if getattr(self, given)
            ),
        )

    def _logo(self) -> Image | None:
        if not self.logo_url:
            return None
        return Image(
            url=self.logo_url, alt=self.name, width=self.logo_width, height=self.logo_height
        )

    def feedback_mailbox(self) -> mailboxes.MailboxServer | Path | None:
        """Return the mailbox of returned mails; None if it is not set."""
        return mailboxes.parse(self.feedback_url) if self.feedback_url else None

    def secrets(self) -> Iterator[str]:
        """Yield every secret of these settings, for masking in output."""
        for name, field in type(self).model_fields.items():
            value = None if field.repr else getattr(self, name)
            if name == "feedback_url" and isinstance(self.feedback_mailbox(), Path):
                continue
            for text in value if isinstance(value, list) else [value] if value else []:
                yield from userinfo.secrets(text)
        if self.ping_url:
            # The path is a secret, because it is enough to report runs.
            yield urlsplit(self.ping_url).path.strip("/")

    def smtp_servers(self) -> list[server.SmtpServer]:
        """Return the mail servers in `smtp_url`, in their order."""
        return server.parse(
            self.smtp_url, hostname=self.smtp_hostname, allows_plaintext=self.smtp_plaintext
        )


class _OfFile(Settings):
    """Settings of the file alone, without the environment."""

    reads_environment: ClassVar[bool] = False

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
    """Read the settings; raise ConfigurationError with each invalid one and a hint.

    Without `environment`, only the file is read.
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


def _spelled(mailbox: str) -> str:
    """Return "Name <address>" with the domain in A-labels, for a header."""
    name = parseaddr(mailbox)[0]
    return f"{name} <{address_of(mailbox)}>" if name else address_of(mailbox)


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
