"""The variables of each template with their types, for the documentation and `templates check`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import jinja2
from jinja2 import meta, nodes

from newsletter.rendering import letter
from newsletter.rendering.colour import Palette
from newsletter.rendering.content import (
    AnnouncementContent,
    Brand,
    CorrectionContent,
    DigestContent,
    Links,
)
from newsletter.rendering.plaintext import Notes
from newsletter.rendering.selection import Selection
from newsletter.web import pages

#: The variables of every mail.
MAIL: Mapping[str, Any] = {
    "brand": Brand,
    "links": Links,
    "light": Palette,
    "dark": Palette,
    "slots": dict[str, str],
    "is_page": bool,
}
DIGEST: Mapping[str, Any] = {
    "content": DigestContent,
    "digest": Selection,
    "month": date | None,
    "notes": Notes,
}
CORRECTION: Mapping[str, Any] = {
    "content": CorrectionContent,
    "title": str,
    "paragraphs": list[list[str]],
}
ANNOUNCEMENT: Mapping[str, Any] = {
    "content": AnnouncementContent,
    "opening": str,
    "notes": Notes,
}
#: The variables of each kind of mail to many readers.
BULK: Mapping[str, Mapping[str, Any]] = {
    "digest": DIGEST,
    "correction": CORRECTION,
    "announcement": ANNOUNCEMENT,
}
LETTERS: Mapping[str, Any] = {one.kind: one for one in get_args(letter.Letter)}
#: The variables of every web page.
WEB: Mapping[str, Any] = {"site": pages.Site, "light": Palette, "dark": Palette, "style": str}
#: The classes with the values of each page, by the names of their templates.
PAGES: Mapping[str, Any] = {
    "subscribe": pages.Subscribe,
    "asked": pages.Asked,
    "confirm": pages.Confirm,
    "confirmed": pages.Confirmed,
    "expired": pages.Expired,
    "invalid": pages.Invalid,
    "preferences": pages.Preferences,
    "saved": pages.Saved,
    "unsubscribe": pages.Unsubscribe,
    "goodbye": pages.Goodbye,
    "mailed": pages.Mailed,
    "own_data": pages.OwnData,
    "address_asked": pages.AddressAsked,
    "new_address": pages.NewAddress,
    "address_changed": pages.AddressChanged,
    "forgotten": pages.Forgotten,
    "archive": pages.Archive,
    "edition": pages.Edition,
    "not_found": pages.NotFound,
    "error": pages.Error,
    "too_many": pages.TooMany,
    "box": pages.Box,
    "embed": pages.Script,
}
_PAGE = re.compile(r"web/(\w+)\.(?:html|js)")
_KIND = re.compile(r"email/(\w+)/")


def of(template: str) -> dict[str, Any] | None:
    """Return the variables of a built-in template; None for one that kinds of mail share."""
    if page := _PAGE.fullmatch(template):
        return {**WEB, **({"page": PAGES[page[1]]} if page[1] in PAGES else {})}
    kind = _KIND.match(template)
    if kind is None or kind[1].startswith("_"):
        return None
    if kind[1] in LETTERS:
        return {**MAIL, "letter": LETTERS[kind[1]]}
    return {**MAIL, **BULK.get(kind[1], CORRECTION)}


def mistakes(template: str, source: str, environment: jinja2.Environment) -> Iterator[str]:
    """Yield a sentence for each variable or attribute in a template that does not exist."""
    variables = of(template)
    if variables is None:
        return
    tree = environment.parse(source, template)
    local = _named_in(tree)
    known = {*variables, *environment.globals, *local, *_inherited(tree, environment)}
    for name in sorted(meta.find_undeclared_variables(tree) - known):
        yield f'line {_line(tree, name)}: there is no variable "{name}"{_nearest(name, known)}'
    typed = {name: kind for name, kind in variables.items() if name not in local}
    for one in tree.find_all(nodes.Getattr):
        holder = _type(one.node, typed)
        names = parts(holder) if holder else {}
        if names and one.attr not in names:
            near = _nearest(one.attr, set(names))
            yield f'line {one.lineno}: {_written(one.node)} has no "{one.attr}"{near}'


def parts(kind: object) -> dict[str, Any]:
    """Return the attributes that templates can use: the fields and properties of a class."""
    if not isinstance(kind, type) or not is_dataclass(kind):
        return {}
    hints = get_type_hints(kind)
    named = {one.name: hints[one.name] for one in fields(kind)}
    for name, found in vars(kind).items():
        if isinstance(found, property) and not name.startswith("_"):
            named[name] = get_type_hints(found.fget).get("return")
    return named


def _named_in(tree: nodes.Template) -> set[str]:
    """Return the names that a template defines itself, by set, for, macro and import."""
    names = {one.name for one in tree.find_all(nodes.Name) if one.ctx != "load"}
    names |= {one.name for one in tree.find_all(nodes.Macro)}
    names |= {one.target for one in tree.find_all(nodes.Import)}
    for one in tree.find_all(nodes.FromImport):
        names |= {name if isinstance(name, str) else name[1] for name in one.names}
    return names | {"caller", "varargs", "kwargs", "loop", "self", "super"}


def _inherited(tree: nodes.Template, environment: jinja2.Environment) -> set[str]:
    """Return the names that are defined in templates which this one extends or includes."""
    names: set[str] = set()
    waiting, seen = [*meta.find_referenced_templates(tree)], set[str]()
    while waiting:
        name = waiting.pop()
        if name is None or name in seen or environment.loader is None:
            continue
        seen.add(name)
        # Errors are ignored, because rendering reports a missing template.
        with suppress(jinja2.TemplateError, UnicodeDecodeError):
            used = environment.parse(environment.loader.get_source(environment, name)[0], name)
            names |= _named_in(used)
            waiting += meta.find_referenced_templates(used)
    return names


def _type(node: nodes.Node, variables: Mapping[str, Any]) -> object:
    if isinstance(node, nodes.Name):
        return _without_none(variables.get(node.name))
    if isinstance(node, nodes.Getattr):
        return _without_none(parts(_type(node.node, variables)).get(node.attr))
    return None


def _without_none(kind: object) -> object:
    if get_origin(kind) in {Union, UnionType}:
        left = [one for one in get_args(kind) if one is not type(None)]
        return left[0] if len(left) == 1 else None
    return kind


def _written(node: nodes.Node) -> str:
    if isinstance(node, nodes.Getattr):
        return f"{_written(node.node)}.{node.attr}"
    return node.name if isinstance(node, nodes.Name) else "it"


def _line(tree: nodes.Template, name: str) -> int:
    return next((one.lineno for one in tree.find_all(nodes.Name) if one.name == name), 1)


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else "."
