"""The publisher's folder of templates: which files replace ours, and which have no effect.

A file replaces our template of the same path. A file of another name has an effect only if such a
template extends, includes or imports it, directly or by way of others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2 import meta

from newsletter import paths

#: Maximum number of files that are listed: the setting may be a folder with other content.
_MOST = 2_000
#: The folder of the desk's pages, which are the operator's own and cannot be replaced.
_DESK = "desk/"
_CATALOGUE = "locale/*/LC_MESSAGES/messages.po"


@dataclass(frozen=True)
class Unused:
    """A file of the publisher's that has no effect."""

    name: str
    #: The built-in template that the file was probably meant to replace, if any.
    meant: str | None

    @property
    def sentence(self) -> str:
        """The sentence for the operator about the file."""
        if self.meant is None:
            return f"{self.name} replaces no template and is used by none."
        return f"{self.name} replaces no template and is used by none; {self.meant} is one."


def builtin() -> list[str]:
    """Return the names of the templates that a publisher can replace."""
    return [name for name in _names(paths.TEMPLATES) if not name.startswith(_DESK)]


def replaced(folder: Path) -> list[str]:
    """Return the names of the publisher's files that replace ours."""
    ours = set(builtin())
    return [name for name in _names(folder) if name in ours or Path(name).match(_CATALOGUE)]


def unused(folder: Path, environment: jinja2.Environment) -> list[Unused]:
    """Return the publisher's files that have no effect."""
    used = set(used_files(folder, environment))
    ours = builtin()
    return [Unused(name, _meant(name, ours)) for name in _names(folder) if name not in used]


def used_files(folder: Path, environment: jinja2.Environment) -> list[str]:
    """Return the files that replace ours, and those that they use, directly or indirectly."""
    theirs = set(_names(folder))
    found: dict[str, None] = {}
    waiting = replaced(folder)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = None
        waiting += [one for one in _references(folder / name, environment) if one in theirs]
    return sorted(found)


def sentence(folder: Path, environment: jinja2.Environment) -> str | None:
    """Return a sentence about a folder without replacements or with unused files; None if fine."""
    idle = unused(folder, environment)
    if not replaced(folder):
        files = "it is empty" if not idle else f"{idle[0].sentence}"
        return f"The folder of templates {folder} replaces no template: {files.rstrip('.')}."
    if not idle:
        return None
    more = f" And {len(idle) - 1:,} more files." if len(idle) > 1 else ""
    return f"In the folder of templates {folder}, {idle[0].sentence}{more}"


def _names(folder: Path) -> list[str]:
    """Return the relative paths of the files in a folder, without hidden and backup files."""
    return sorted(name for _, name in zip(range(_MOST), _walk(folder), strict=False))


def _walk(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts) or path.name.endswith("~")
        if not is_hidden and path.is_file():
            yield name.as_posix()


def _references(path: Path, environment: jinja2.Environment) -> list[str]:
    """Return the templates that a file uses; none if it is unreadable, which `check` reports."""
    try:
        tree = environment.parse(path.read_text(encoding="utf-8"))
    except (jinja2.TemplateError, UnicodeDecodeError, OSError):
        return []
    return [name for name in meta.find_referenced_templates(tree) if name]


def _meant(name: str, ours: list[str]) -> str | None:
    """Return the built-in template with the most similar name, which a file may be meant to be."""
    parts = name.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        same = [one for one in ours if one == end or one.endswith(f"/{end}")]
        if len(same) == 1:
            return same[0]
    return next(iter(difflib.get_close_matches(name, ours, n=1, cutoff=0.75)), None)
