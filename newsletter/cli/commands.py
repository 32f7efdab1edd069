"""The commands by name; each is imported when it is run, as importing all would take seconds."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

#: The commands with their lines in the overview.
_COMMANDS = {
    "init": "Write newsletter.toml with a fresh secret, make the database.",
    "demo": "Show everything at work: feed, readers, digests, real SMTP.",
    "send": "Send the edition of the current period now, or its rest.",
    "cron": "Fetch the feeds and send what is due, then end.",
    "serve": "Serve the readers' pages and send their letters.",
    "worker": "Send what is due until SIGTERM; run as many as you want.",
    "announce": "Send a text of your own to readers, outside of the digests.",
    "preview": "Write the mail that a new reader would get now, as files.",
    "note": "Put a note above the articles of a cadence's next edition.",
    "plan": "Show what the next editions would be: mails, readers, and who gets none.",
    "explain": "Say why a reader did or did not get a mail.",
    "doctor": "Say whether everything is right: settings, machine, DNS, mail.",
    "status": "Show what needs a look, what waits and what is due next.",
    "watchdog": "Say what is overdue; nothing when all is well.",
    "metrics": "Print all metrics as Prometheus reads them.",
}
_GROUPS = {
    "subscribers": "Who reads, how often, and how they agreed to it.",
    "feeds": "Where articles come from: RSS, Atom and JSON feeds.",
    "articles": "What came, what waits, and what an editor does with it.",
    "editions": "What was published; pause, cancel and correct it.",
    "delivery": "The ledger: what became of every mail.",
    "suppression": "Addresses that must never be mailed.",
    "desk": "The operator's web view, and who may use it.",
    "feedback": "What comes back by mail.",
    "templates": "The templates of mails and pages, and a folder of your own.",
    "database": "The schema's version, upgrades, backups, and pruning.",
}
#: The module of a command, if it does not have the command's name.
_MODULES = {"cron": "send"}
#: Maximum characters of a command's line in an overview; large, so that no line is cut off.
_LONGEST = 1_000


class Group(TyperGroup):
    """A group whose overview shows the whole sentence for each command."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer's own Click
        """Write a line or two for each command; Click would cut them off."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(n, c.get_short_help_str(_LONGEST)) for n, c in commands if c])


class Commands(Group):
    """All commands; none is imported before it is run."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - whatever Typer passes on
        super().__init__(**attributes)
        self.commands = {
            name: _Deferred(name, help=summary) for name, summary in (_COMMANDS | _GROUPS).items()
        }

    def load_all(self) -> None:
        """Import all commands, to generate docs/cli.md and to test them."""
        self.commands = {name: load(name) for name in (*_COMMANDS, *_GROUPS)}


class _Deferred(TyperCommand):
    """A command whose module is imported when its arguments are parsed."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401
        """Import the command and let it parse its arguments, so that the context runs it."""
        assert self.name is not None
        return load(self.name).make_context(info_name, args, parent=parent, **extra)


def load(name: str) -> Any:  # noqa: ANN401 - a command or group of Typer's own Click
    """Import a command and return it, with each paragraph of its help joined to one line."""
    module = import_module(f"newsletter.cli.{_MODULES.get(name, name)}")
    if name in _GROUPS:
        commands: typer.Typer = module.app
        own = commands.registered_callback
        # A group that is a command as well has the docstring of that command.
        help_text = _unwrapped(own.callback) if own else _GROUPS[name]
        commands.info.cls, commands.info.help = Group, help_text
        commands.rich_markup_mode = None
        _unwrap_help(commands)
        loaded = get_group(commands)
        loaded.name = name
        return loaded
    commands = typer.Typer(add_completion=False, rich_markup_mode=None)
    commands.command(name)(getattr(module, name))
    _unwrap_help(commands)
    return get_command(commands)


def _unwrap_help(commands: typer.Typer) -> None:
    """Set the help of each command to its docstring, with each paragraph on one line.

    So the terminal's width decides about line breaks, and not the source.
    """
    for command in commands.registered_commands:
        command.help = _unwrapped(command.callback)


def _unwrapped(callback: object) -> str:
    paragraphs = (inspect.getdoc(callback) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
