"""The command line `hf-tokcomp`, with one command per file.

Errors are reported as one line on stderr and a nonzero exit code: 2 for a usage error, 1 for a command that failed.
Set ``HF_TOKCOMP_DEBUG=1`` to see tracebacks and the libraries' own messages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import starting
from ..reporting.console import complain, debugging, quiet_libraries
from .bench import bench
from .command import Command
from .compare import compare
from .demo import demo
from .evaluate import evaluate
from .export_vllm import export_vllm
from .finetune import SETTINGS as FINETUNE_SETTINGS
from .finetune import finetune
from .interrupted import ARGUMENTS, Interrupted
from .plot import plot
from .prepared import prepared
from .push import card, push
from .run import run
from .serve import PassesOn, serve
from .tables import methods, models

app = typer.Typer(
    name="hf-tokcomp",
    help="Fewer audio tokens for audio-language models.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command, summary in (
    (run, "Read recordings with a model, compressed or not."),
    (compare, "Compare methods and ratios on recordings."),
    (bench, "Measure what compression saves in time and memory."),
    (plot, "Draw what methods do to a recording."),
    (demo, "Show what is read with fewer and fewer tokens."),
    (push, "Share a compression on the Hub."),
    (card, "Print the model card that push sends."),
    (methods, "List the compression methods."),
    (models, "List the models that can be patched."),
):
    app.command(cls=Command, short_help=summary)(
        command if command in (methods, models) else prepared(command, reads=command in (run, compare, plot))
    )
app.command("eval", cls=Command, short_help="Measure compressions on benchmarks.")(prepared(evaluate, reads=True))
app.command(
    cls=Command,
    short_help="Fine-tune a model under compression.",
    context_settings=FINETUNE_SETTINGS,
    add_help_option=False,
)(prepared(finetune))
app.command("export-vllm", cls=Command, short_help="Write a folder that vLLM serves under a compression.")(
    prepared(export_vllm, importing=False)
)
app.command(cls=PassesOn, short_help="Serve a model under a compression in vLLM.")(prepared(serve, importing=False))


def _show_version(wanted: bool) -> None:
    if wanted:
        from .._version import __version__

        print(f"hf-tokcomp {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: the arguments without the program name; None for those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    running = ARGUMENTS.set(tuple(given))
    try:
        starting.begun()
        return _run(given)
    except (Interrupted, KeyboardInterrupt, typer.Abort) as end:
        if sys.stderr.isatty():  # the line shows ^C, and maybe a progress bar
            print(file=sys.stderr)
        complain("error", " ".join(("Interrupted.", *filter(None, (str(end),)))))
        return starting.INTERRUPTED
    finally:
        starting.ended()
        ARGUMENTS.reset(running)


def _run(given: list[str]) -> int:
    """Run a command, print any error, and return the exit code."""
    try:
        with quiet_libraries():
            code = app(args=given, prog_name="hf-tokcomp", standalone_mode=False)
        if code == starting.INTERRUPTED:  # all that typer leaves of a KeyboardInterrupt
            raise Interrupted
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except (Interrupted, typer.Abort):
        raise
    except BrokenPipeError:  # the reader of the pipe has exited (`| head`)
        _drop_output()
        return 1
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "hf-tokcomp"
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        complain("error", f"{message}. See `{path} --help`.")
        return error.exit_code
    except Exception as error:
        if debugging():
            raise
        complain("error", _message(_of_output() or error))
        return 1
    return code if isinstance(code, int) else 0


def _of_output() -> OSError | None:
    """The error of standard output, if any, which may be a file on a full disk."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        return OSError(error.errno, error.strerror, "standard output")
    return None


def _drop_output() -> None:
    """Redirect the broken standard output to null, or Python would report the error again when closing it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(error: Exception) -> str:
    """The message of an error, with its type if the message is meant for programmers."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, ValueError | TypeError | OSError | RuntimeError | ImportError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (HF_TOKCOMP_DEBUG=1 shows where)"
