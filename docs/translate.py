"""Collects the words of the templates into the catalogues in templates/locale.

`python docs/translate.py` adds what is new, drops what is gone and keeps what is translated;
`python docs/translate.py LANGUAGE` begins a new one; with --check it only says what is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

TEMPLATES = Path(__file__).parents[1] / "templates"
LOCALE = TEMPLATES / "locale"
_OPTIONS = {"trim_blocks": "true", "lstrip_blocks": "true", "keep_trailing_newline": "true"}


_HEADER = """\
msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: {plurals};\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


def collect() -> Catalog:
    """Return every message of the templates, with the files that say it."""
    found = Catalog(charset="utf-8", fuzzy=False)
    for path in sorted(
        path
        for path in TEMPLATES.rglob("*.*")
        # The desk is in English, as the command line is.
        if path.suffix in {".html", ".txt", ".js"} and path.parent.name != "desk"
    ):
        place = (path.relative_to(TEMPLATES).as_posix(), 0)
        with path.open("rb") as file:
            for _, _, message, comments in babel_extract(
                file, ("_", "gettext", "ngettext"), [], _OPTIONS
            ):
                words = message if isinstance(message, str) else tuple(message[:2])
                found.add(words, locations=[place], auto_comments=comments)
    return found


def path_of(language: str) -> Path:
    """Return where the catalogue of a language is."""
    return LOCALE / language / "LC_MESSAGES" / "messages.po"


def languages() -> list[str]:
    """Return the languages that there are catalogues for."""
    return sorted(path.parents[1].name for path in LOCALE.glob("*/LC_MESSAGES/messages.po"))


def read(language: str) -> Catalog:
    """Return the catalogue of a language."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language)


def missing(language: str) -> Iterator[str]:
    """Yield what is wrong with a catalogue, a line each."""
    catalogue, wanted = read(language), collect()
    ids = {message.id for message in wanted if message.id}
    for message in wanted:
        own = catalogue.get(message.id) if message.id else None
        if message.id and (own is None or own.fuzzy or not _is_whole(own.string, catalogue)):
            yield f"{language} does not say: {message.id}"
    for message in catalogue:
        if message.id and message.id not in ids:
            yield f"{language} says what no template does: {message.id}"


def _is_whole(string: str | tuple[str, ...], catalogue: Catalog) -> bool:
    if isinstance(string, str):
        return bool(string)
    return len(string) == catalogue.num_plurals and all(string)


def update(language: str) -> None:
    """Write the catalogue of a language anew, its translations kept."""
    path = path_of(language)
    wanted = collect()
    old = read(language) if path.exists() else Catalog(locale=language)
    new = Catalog(locale=language, charset="utf-8", fuzzy=False)
    for message in wanted:
        if not message.id:
            continue
        known = old.get(message.id)
        string = known.string if known and not known.fuzzy else ""
        new.add(message.id, string, locations=message.locations)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # A header of our own: dates and names would change with every run and say nothing.
        file.write(_HEADER.format(language=language, plurals=old.plural_forms.rstrip(";")).encode())
        write_po(file, new, width=100, omit_header=True, include_lineno=False, sort_by_file=True)


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--check"]
    chosen = words or languages()
    if "--check" not in sys.argv:
        for language in chosen:
            update(language)
    faults = [fault for language in chosen for fault in missing(language)]
    print("\n".join(faults) or "Every catalogue is complete.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
