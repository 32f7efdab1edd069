"""The languages that mails and pages can be written in."""

from __future__ import annotations

from babel import Locale, UnknownLocaleError

from newsletter.errors import InvalidInput


def parse(tag: str) -> Locale:
    """Return the locale of a BCP 47 tag; raise InvalidInput for an unknown language."""
    try:
        # English without a country: en_001 writes the day before the month, as most countries do.
        return Locale.parse("en_001" if tag == "en" else tag.replace("-", "_"))
    except (ValueError, UnknownLocaleError) as exc:
        raise InvalidInput(
            f"{tag!r} is not a language.", hint="Write a tag such as en, en-US or ar."
        ) from exc
