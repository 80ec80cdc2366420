"""`Command`: grouped options, examples below them, support for earlier spellings, and defaults from a YAML file."""

from __future__ import annotations

import textwrap
from typing import Any

import typer
from typer.core import TyperCommand

from .config_file import FLAG, defaults_from, named_file
from .epilogs import EXAMPLES
from .groups import GROUPS
from .spellings import OLD, modern


class Command(TyperCommand):
    """A command of `hf-tokcomp`; an option's ``rich_help_panel`` is its group, one of `GROUPS`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line, with earlier spellings translated and defaults from the ``--config`` file."""
        valued = {name for param in self.params if not getattr(param, "is_flag", False) for name in param.opts}
        given = modern(list(args), OLD.get(self.name or "", {}), valued, quiet=ctx.resilient_parsing)
        file = named_file(given, valued) if FLAG in valued and not ctx.resilient_parsing else None
        if file is not None:
            ctx.default_map = defaults_from(file, self.params)
        try:
            return list(super().parse_args(ctx, given))
        except typer.BadParameter as error:
            name = getattr(error.param, "name", None)
            source = None if name is None else ctx.get_parameter_source(name)
            if source is None or source.name != "DEFAULT_MAP":
                raise
            raise ValueError(f"{file}: {error.format_message()}") from error

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, with a section for each group."""
        sections: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                group = getattr(param, "rich_help_panel", None) or GROUPS[-1]
                sections[group].append(record)
        for group, records in sections.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples without wrapping, so that their lines can be copied."""
        examples = EXAMPLES.get(self.name or "", ())
        if examples:
            with formatter.section("Examples"):
                formatter.write(textwrap.indent("\n".join(examples), " " * formatter.current_indent) + "\n")


def given_on_command_line(context: typer.Context) -> list[str]:
    """The names of the parameters given on the command line or in the ``--config`` file."""
    found = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP"):
            found.append(parameter.name or "")
    return found
