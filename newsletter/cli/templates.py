"""`newsletter templates`: lists, copies and checks the publisher's own templates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import clock, paths
from newsletter.cli import context, output
from newsletter.errors import ConfigurationError, NotFound, RenderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import jinja2

    from newsletter.settings import Settings

app = typer.Typer(no_args_is_help=True)
#: The exit code of a check with findings.
FOUND = 3
_HINT = 'Set it in newsletter.toml: templates = "templates".'


@app.command("list")
def list_templates(ctx: typer.Context, *, json: output.Json = False) -> None:
    """List every template, and which of them your own folder replaces."""
    from newsletter.rendering import overrides

    settings = context.of(ctx).settings
    replaced = set(overrides.replaced(settings.templates)) if settings.templates else set()
    names = sorted({*overrides.builtin(), *replaced})
    unused = (
        overrides.unused(settings.templates, _environment(settings)) if settings.templates else []
    )
    if json:
        output.as_json(
            {
                "folder": settings.templates,
                "templates": [{"name": name, "replaced": name in replaced} for name in names],
                "unused": [one.name for one in unused],
            }
        )
        return
    output.table(
        ("template", "from"),
        [(name, "your folder" if name in replaced else "built in") for name in names],
    )
    for one in unused:
        output.warn(one.sentence)


@app.command()
def copy(
    ctx: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="TEMPLATE...",
            help="As `templates list` names them, or a folder of them: email/digest.",
        ),
    ],
    *,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to, if no folder is set yet.")
    ] = None,
    json: output.Json = False,
) -> None:
    """Copy built-in templates into your folder, to be changed there; replaces no file."""
    from newsletter.rendering import overrides

    target = folder or context.of(ctx).settings.templates
    if target is None:
        raise ConfigurationError("No folder of templates is set.", setting="templates", hint=_HINT)
    ours = overrides.builtin()
    chosen = [one for name in names for one in _named(name, ours)]
    copied = [name for name in dict.fromkeys(chosen) if not (target / name).exists()]
    for name in copied:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths.TEMPLATES / name, target / name)
    kept = [name for name in dict.fromkeys(chosen) if name not in copied]
    if json:
        output.as_json({"folder": target, "copied": copied, "kept": kept})
        return
    for name in copied:
        output.say(f"Copied {target / name}.")
    for name in kept:
        output.warn(f"{target / name} is there already, and stays as it is.")


@app.command()
def check(ctx: typer.Context, *, json: output.Json = False) -> None:
    """Try your templates on sample mails of every kind; exit code 3 if something is wrong.

    It finds syntax errors, variables that do not exist, errors in sample mails, and files that
    replace no template.
    """
    from newsletter.rendering import overrides

    settings = context.of(ctx).settings
    folder = settings.templates
    problems = _problems(settings)
    replaced = overrides.replaced(folder) if folder else []
    if json:
        output.as_json({"folder": folder, "replaced": replaced, "problems": problems})
    elif folder is None:
        output.say("No folder of templates is set: all of them are built in, and right.")
    for problem in [] if json else problems:
        output.warn(problem)
    if problems:
        raise typer.Exit(FOUND)
    if folder and not json:
        templates = output.counted(len(replaced), "template")
        output.say(f"{templates} of your own, and every sample mail can be made with them.")


def _named(name: str, ours: list[str]) -> list[str]:
    plain = name.strip("/")
    found = [one for one in ours if one == plain or one.startswith(f"{plain}/")]
    if not found:
        raise NotFound(
            f"There is no template {name}.", hint="`newsletter templates list` shows all."
        )
    return found


def _environment(settings: Settings) -> jinja2.Environment:
    from newsletter.web import pages

    # The environment of web pages, which includes everything that mails can use.
    site = pages.Site(brand=settings.brand(), base_url=settings.base_url)
    return pages.build(site, templates=settings.templates)


def _problems(settings: Settings) -> list[str]:
    """Return a sentence for each problem with the templates."""
    from newsletter.rendering import overrides

    try:
        environment = _environment(settings)
    except RenderError as exc:
        return [exc.message]
    if settings.templates is None:
        return list(_of_mails(settings))
    # Sample mails are tried only if no file has an error, because they would fail for the same one.
    found = [*_of_files(settings.templates, environment)] or [*_of_mails(settings)]
    idle = overrides.sentence(settings.templates, environment)
    return [*found, *([idle] if idle else [])]


def _of_mails(settings: Settings) -> Iterator[str]:
    """Yield the first error that a sample mail causes, if any."""
    from newsletter.cli import sample
    from newsletter.editions.compose import MailRenderer
    from newsletter.publication import Publication

    try:
        for _ in sample.render_all(
            MailRenderer(Publication.of(settings)), settings, clock.utc_now()
        ):
            pass
    except RenderError as exc:
        yield exc.message


def _of_files(folder: Path, environment: jinja2.Environment) -> Iterator[str]:
    """Yield the errors in each file, whether or not a sample mail uses it."""
    from newsletter.cli import variables
    from newsletter.rendering import environment as templating
    from newsletter.rendering import overrides

    for name in overrides.used_files(folder, environment):
        if name.endswith(".po"):
            continue
        try:
            templating.check(environment, name)
        except RenderError as exc:
            yield exc.message
            continue
        source = (folder / name).read_text(encoding="utf-8")
        for mistake in variables.mistakes(name, source, environment):
            yield f"{folder / name}, {mistake}"
