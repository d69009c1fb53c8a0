"""MkDocs hook: writes docs/reference/commands.md from the commands themselves.

The page is made when the site is built, so that it cannot fall behind the options.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
from mkdocs.structure.pages import Page

from tumorlens.cli.main import tumorlens_command
from tumorlens.report.page_parts import table

PAGE = "reference/commands.md"


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Add every command, with its options, to the page of commands."""
    if page.file.src_uri != PAGE:
        return markdown
    return "\n".join((markdown, *_command(tumorlens_command, "tumorlens", None)))


def _command(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    path = context.command_path
    # The program's name is the page's subject already.
    if parent is not None:
        yield f"\n{'#' * (1 + path.count(' '))} {path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{path} {usage}\n```\n"
    for paragraph in (command.help or "").split("\n\n"):
        yield " ".join(paragraph.split()).replace("<", "\\<") + "\n"
    rows = []
    for item in command.get_params(context):
        record = item.get_help_record(context)
        if record is not None:
            option, meaning = record
            rows.append((f"`{option}`", meaning.replace("<", "\\<")))
    yield "\n".join(table(("Option", "Meaning"), rows))
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _command(found, child, context)
