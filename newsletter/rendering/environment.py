"""The Jinja2 environment: folders of templates, filters and translations, and template errors.

Each file in the publisher's own folder replaces ours of the same name; ours can still be loaded as
`original/...`, so that an override can extend the template that it replaces.
"""

from __future__ import annotations

import gettext
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from io import BytesIO
from itertools import product
from pathlib import Path
from types import CodeType
from typing import Literal

import jinja2
from babel import Locale
from babel.dates import format_date, format_skeleton, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_decimal
from babel.units import format_unit
from jinja2.bccache import Bucket
from markupsafe import Markup

from newsletter import paths
from newsletter.errors import RenderError
from newsletter.graphemes import shorten
from newsletter.rendering import language as languages
from newsletter.rendering import note, plaintext

#: Errors that a template's own code can raise; any other is a bug of this program, and not caught.
_TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

_SHORT_MONTH = re.compile(r"(?<!M)MMM(?!M)")
_SHORT_DAY = re.compile(r"(?<!E)E(?!E)")


class _Compiled(jinja2.BytecodeCache):
    """In-memory cache of compiled templates, as each edition and letter has a new environment."""

    def __init__(self) -> None:
        #: The checksum of the source and the code of each template, by its name and file.
        self._codes: dict[str, tuple[str, CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Load the cached code of a template if it was compiled from the same source."""
        checksum, code = self._codes.get(bucket.key, ("", None))
        bucket.code = code if checksum == bucket.checksum else None

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Store the code of a template, in place of that of an older source."""
        if bucket.code is not None:
            self._codes[bucket.key] = (bucket.checksum, bucket.code)


#: Two caches, because autoescaping is part of a template's compiled code.
_COMPILED, _COMPILED_ESCAPING = _Compiled(), _Compiled()


def build(override_folder: Path | None, language: str) -> jinja2.Environment:
    """Return the environment for one publication; its own templates have precedence over ours."""
    folders = [override_folder] if override_folder else []
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.FileSystemLoader([*folders, paths.TEMPLATES]),
                jinja2.PrefixLoader({"original": jinja2.FileSystemLoader(paths.TEMPLATES)}),
            ]
        ),
        autoescape=jinja2.select_autoescape(["html"], default_for_string=False),
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=_COMPILED,
    )
    locale = languages.parse(language)
    environment.install_gettext_translations(  # type: ignore[attr-defined]  # the extension's
        _translations([*folders, paths.TEMPLATES], locale), newstyle=True
    )
    _add_words(environment, locale, language)
    return environment


def render(environment: jinja2.Environment, name: str, values: Mapping[str, object]) -> str:
    """Render a template; a mistake in it becomes a RenderError naming file and line."""
    chosen = _escaping(environment) if name.endswith(".html") else environment
    with _placed(environment, name):
        return chosen.get_template(name).render(values)


def check(environment: jinja2.Environment, name: str) -> None:
    """Load a template without rendering it; raises RenderError naming file and line."""
    with _placed(environment, name):
        environment.get_template(name)


@contextmanager
def _placed(environment: jinja2.Environment, name: str) -> Iterator[None]:
    """Turn an error of a template's own code into a RenderError with file and line."""
    try:
        yield
    except UnicodeDecodeError as exc:
        raise RenderError(
            f"{name}, or a template that it uses, is not UTF-8.", hint="Save it as UTF-8."
        ) from exc
    except _TEMPLATE_ERRORS as exc:
        place = _place(exc, environment)
        if place is None:
            raise
        raise RenderError(
            f"{place}: {exc or type(exc).__name__}", hint="Correct the template and try again."
        ) from exc
    # After the others, because TemplateNotFound is an OSError, too.
    except OSError as exc:
        raise RenderError(
            f"{exc.filename or name} cannot be read: {exc.strerror}.",
            hint="Let the newsletter's own user read its templates.",
        ) from exc


@lru_cache(maxsize=32)
def _escaping(environment: jinja2.Environment) -> jinja2.Environment:
    """Return an environment with the same templates, in which .txt templates are autoescaped, too.

    HTML templates import macros from .txt templates. Without autoescaping, the output of these
    macros would not be escaped and yet count as safe.
    """
    return environment.overlay(autoescape=True, bytecode_cache=_COMPILED_ESCAPING)


def _translations(folders: Sequence[Path], locale: Locale) -> gettext.NullTranslations:
    """Return the translations for a language: the publisher's, then ours, then the original text.

    Catalogues are read as .po files, so that no .mo files have to be compiled or installed.
    """
    found = gettext.NullTranslations()
    for tag, folder in product(dict.fromkeys((locale.language, str(locale))), reversed(folders)):
        path = folder / "locale" / tag / "LC_MESSAGES" / "messages.po"
        if path.is_file():
            nearer = _read_catalogue(path)
            nearer.add_fallback(found)
            found = nearer
    return found


def _read_catalogue(path: Path) -> gettext.GNUTranslations:
    packed = BytesIO()
    try:
        with path.open("rb") as file:
            write_mo(packed, read_po(file, abort_invalid=True))
    except (PoFileError, UnicodeDecodeError) as exc:
        raise RenderError(
            f"{path} is no catalogue: {exc}", hint="Check it with `msgfmt --check`."
        ) from exc
    packed.seek(0)
    return gettext.GNUTranslations(packed)


def _add_words(environment: jinja2.Environment, locale: Locale, language: str) -> None:
    is_rtl = locale.text_direction == "rtl"
    environment.globals.update(
        lang=language,
        dir=locale.text_direction,
        start="right" if is_rtl else "left",
        end="left" if is_rtl else "right",
        rule=plaintext.rule(),
    )
    environment.filters.update(
        reading_time=lambda count: _apart(reading_time(count, locale), locale),
        day=lambda day: _apart(format_date(day, "long", locale=locale), locale),
        weekday=lambda day: _apart(format_date(day, "full", locale=locale), locale),
        month=lambda day: _apart(format_skeleton("yMMMM", day, locale=locale), locale),
        date=lambda at: _apart(weekday_and_date(at, locale=locale), locale),
        clock=lambda at: format_skeleton("Hm", at, locale=locale),
        length_of_time=lambda length: _apart(length_of_time(length, locale=locale), locale),
        from_now=lambda length: _apart(from_now(length, locale=locale), locale),
        span=lambda first, last: _apart(span(first, last, locale=locale), locale),
        number=lambda count: format_decimal(count, locale=locale),
        shorten=_shortened,
        wrap=plaintext.wrap,
        note_html=note.html,
        note_text=note.plain,
    )


def _shortened(text: str, limit: int) -> str:
    """Shorten a text by visible characters: markup is unescaped first, so no entity is cut."""
    if isinstance(text, Markup):
        return Markup.escape(shorten(text.unescape(), limit))
    return shorten(text, limit)


def _apart(words: str, locale: Locale) -> str:
    """Isolate text in a right-to-left language (UAX #9), to keep its order in any context."""
    return f"\u2068{words}\u2069" if locale.text_direction == "rtl" else words


def reading_time(minutes: int, locale: Locale) -> str:
    """Format a reading time: "21 minutes", "2 hours 5 minutes"."""
    hours, rest = divmod(minutes, 60)
    parts = [_unit(hours, "hour", "long", locale)] if hours else []
    if rest or not hours:
        parts.append(_unit(rest, "minute", "long", locale))
    return " ".join(parts)


def span(first: date, last: date, *, locale: Locale) -> str:
    """Format the range of days from `first` to `last`, both included."""
    if first >= last:
        return str(format_date(last, "long", locale=locale))
    differs = "y" if first.year != last.year else "M" if first.month != last.month else "d"
    # CLDR has patterns of ranges only with short names of months, which are replaced by long ones.
    parts = [_SHORT_MONTH.sub("MMMM", part) for part in locale.interval_formats["yMMMd"][differs]]
    return "".join(
        str(format_date(day, part, locale=locale))
        for day, part in zip((first, last), parts, strict=True)
    )


def day(on: date, language: str) -> str:
    """Format a date as the filter `day` of the templates does: "23 November 2026"."""
    locale = languages.parse(language)
    return _apart(str(format_date(on, "long", locale=locale)), locale)


def length_of_time(length: timedelta, *, locale: Locale) -> str:
    """Format an approximate length of time: "12 minutes", "4 days"."""
    return str(format_timedelta(length, granularity="minute", threshold=1.5, locale=locale))


def from_now(length: timedelta, *, locale: Locale) -> str:
    """Format the time until an event: "in 12 minutes"."""
    return str(
        format_timedelta(
            length, granularity="minute", threshold=1.5, add_direction=True, locale=locale
        )
    )


def weekday_and_date(day: date, *, locale: Locale) -> str:
    """Format a day without its year: "Monday 23 November"."""
    # For en_001 the pattern of en_GB, since its own has a comma after the weekday, and another
    # comma follows before the time.
    skeletons = (Locale.parse("en_GB") if str(locale) == "en_001" else locale).datetime_skeletons
    pattern = str(skeletons.get("MMMMEEEEd") or skeletons["MMMEd"])
    pattern = _SHORT_MONTH.sub("MMMM", _SHORT_DAY.sub("EEEE", pattern))
    return str(format_date(day, pattern, locale=locale))


def month_of(period_on: date, covers_from: date) -> date | None:
    """Return a day of the calendar month that an edition covers; None if it covers no whole month.

    Only an edition that is due on the first of a month can cover the month before.
    """
    last = period_on - timedelta(days=1)
    is_month = period_on.day == 1 and covers_from >= last.replace(day=1) - timedelta(days=1)
    return last if is_month else None


def _unit(count: int, name: str, length: Literal["short", "long"], locale: Locale) -> str:
    unit = f"duration-{name}"
    # CLDR omits a long form that equals the short one, and babel then writes the unit's name.
    lengths: tuple[Literal["short", "long", "narrow"], ...] = (length, "short", "long", "narrow")
    written = [str(format_unit(count, unit, length=one, locale=locale)) for one in lengths]
    return next((one for one in written if unit not in one), written[0])


def _place(exc: BaseException, environment: jinja2.Environment) -> str | None:
    if isinstance(exc, jinja2.TemplateSyntaxError):
        return f"{exc.filename or exc.name}, line {exc.lineno}"
    folders = _folders(environment)
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if any(Path(frame.filename).is_relative_to(folder) for folder in folders)
    ]
    if frames:
        return f"{frames[-1].filename}, line {frames[-1].lineno}"
    return "templates" if isinstance(exc, jinja2.TemplateError) else None


def _folders(environment: jinja2.Environment) -> list[str]:
    assert isinstance(environment.loader, jinja2.ChoiceLoader)
    first = environment.loader.loaders[0]
    assert isinstance(first, jinja2.FileSystemLoader)
    return list(first.searchpath)
