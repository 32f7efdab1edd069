"""The settings that mails and editions need, as one value that each entry point builds once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.cadences import SendTimes
from newsletter.rendering.content import Brand, Links
from newsletter.settings import Settings
from newsletter.tokens import Keyring

if TYPE_CHECKING:
    import jinja2

    from newsletter.rendering.letter import Draft, Letter
    from newsletter.rendering.message import Markers


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The values that the mails and editions of one newsletter share."""

    #: The sender as shown in mails: name, address, colours.
    brand: Brand
    #: The beginning of every link, without a slash at the end.
    base_url: str
    #: The address to which unsubscriptions by mail are sent.
    sender_address: str
    #: The domain of Message-IDs and List-Id.
    sender_domain: str
    language: str
    #: The times at which editions are due, and their time zone.
    send_times: SendTimes
    #: The publisher's own templates, which override the built-in ones.
    own_templates: Path | None
    #: Query parameters that are added to the links of articles.
    link_parameters: str
    #: Whether links to articles in digests are counted.
    count_clicks: bool
    #: Whether a reader who unsubscribes gets a letter.
    goodbye_letter: bool
    #: How far back an edition reaches for a reader without a watermark, in time and articles.
    catch_up: timedelta
    catch_up_articles: int
    #: The minimum number of articles of an edition.
    min_articles: int
    skip_categories: list[str]
    #: The percentages of bounces and complaints that pause an edition; 0 for none.
    bounce_alarm: float
    complaint_alarm: float
    #: The lateness up to which an edition is still made.
    tolerance: timedelta
    secret_keys: list[str] = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Publication:
        """Return the publication that the settings describe."""
        return cls(
            brand=settings.brand(),
            base_url=settings.base_url,
            sender_address=settings.sender_address,
            sender_domain=settings.sender_domain,
            language=settings.language,
            send_times=settings.send_times,
            own_templates=settings.templates,
            link_parameters=settings.link_parameters,
            count_clicks=settings.count_clicks,
            goodbye_letter=settings.goodbye_letter,
            catch_up=timedelta(days=settings.catch_up_days),
            catch_up_articles=settings.catch_up_articles,
            min_articles=settings.min_articles,
            skip_categories=settings.skip_categories,
            bounce_alarm=settings.bounce_alarm,
            complaint_alarm=settings.complaint_alarm,
            tolerance=timedelta(hours=settings.cron_tolerance_hours),
            secret_keys=settings.secret_keys,
        )

    @cached_property
    def templates(self) -> jinja2.Environment:
        """The templates; the publisher's own override the built-in ones."""
        # Imported late, so that a run of cron with nothing due does not import Jinja2.
        from newsletter.rendering import environment  # noqa: PLC0415

        return environment.build(self.own_templates, self.language)

    @cached_property
    def keyring(self) -> Keyring:
        """The keys that sign links; raises ConfigurationError if they are missing or weak."""
        return Keyring(self.secret_keys)

    @property
    def frozen(self) -> dict[str, str]:
        """The settings stored with a mailing, with which its slots are filled later."""
        return {
            "domain": self.sender_domain,
            "timezone": self.send_times.timezone,
            "language": self.language,
            "signing_key": self.keyring.newest,
        }

    def draft(self, content: Letter) -> Draft:
        """Render a letter, with markers in place of the slots of each recipient."""
        # Imported late for the same reason as in `templates`.
        from newsletter.rendering import letter  # noqa: PLC0415
        from newsletter.rendering.message import Markers, Slot  # noqa: PLC0415

        markers = Markers(secrets.token_hex(16))
        return letter.draft(
            content,
            brand=self.brand,
            links=replace(
                self.links(markers),
                confirm=f"{self.base_url}/confirm/{markers.of(Slot.CONFIRM)}",
                erase=f"{self.base_url}/erase/{markers.of(Slot.ERASE)}",
                data=f"{self.base_url}/data/{markers.of(Slot.DATA)}",
                new_address=f"{self.base_url}/new-address/{markers.of(Slot.NEW_ADDRESS)}",
            ),
            markers=markers,
            environment=self.templates,
        )

    def links(self, markers: Markers) -> Links:
        """Return the links of every mail, with markers in place of their tokens."""
        from newsletter.rendering.message import Slot  # noqa: PLC0415 - see `templates`

        base, leaving = self.base_url, markers.of(Slot.UNSUBSCRIBE)
        return Links(
            unsubscribe=f"{base}/unsubscribe/{leaving}",
            manage=f"{base}/preferences/{markers.of(Slot.MANAGE)}",
            unsubscribe_mailto=f"mailto:{self.sender_address}?subject=unsubscribe%20{leaving}",
        )
