"""The command `tumorlens`: one command a file, imported when it is called.

Tested in `tests/cli/analysis/test_predict.py` and `tests/cli/test_hostile.py`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

import click

import tumorlens
from tumorlens.errors import TumorLensError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141

COMMANDS = {
    "predict": ("analysis", "Say what MRI slices show, how sure that is, and where."),
    "scan": ("analysis", "Judge whole series: volumes, or folders of slices."),
    "study": ("analysis", "Judge all series of one study together."),
    "batch": ("scale", "Judge an archive, on one machine or a Ray cluster."),
    "query": ("scale", "Count an archive's results by month, scanner, series."),
    "federate": ("scale", "Train one model over many hospitals."),
    "validate": ("scale", "Measure a model at many sites, by a protocol."),
    "serve": ("services", "Open the web app."),
    "worker": ("services", "Judge what the web app was sent, in a process apart."),
    "tokens": ("services", "Say who may use the web app."),
    "users": ("services", "Accounts of people who use the web app."),
    "audit": ("services", "Check the record of who did what."),
    "node": ("services", "Take series from a PACS, send findings back."),
    "dicomweb": (
        "services",
        "Judge studies of a PACS over HTTP, store findings there.",
    ),
    "anonymise": ("services", "Take identifiers out of DICOM files."),
    "data": ("data", "Check, split and fetch data sets."),
    "train": ("model", "Train a model."),
    "tune": ("model", "Search for the choices that train the best model."),
    "export": ("model", "Turn a training run into a model bundle."),
    "quantise": ("model", "Put a faster graph in int8 into a bundle."),
    "calibrate": ("model", "Fit and measure what a bundle says of whole series."),
    "evaluate": ("model", "Measure a model on held-out data."),
    "compare-scans": ("model", "Measure models on whole series, side by side."),
    "baseline": ("model", "Measure how far brightness alone gets on a set."),
    "sequences": ("model", "Measure a model by MR sequence and on other lesions."),
}
"""Name of each command, the folder of its group, and one line of help. A command's
module and function have its name, with underscores; `data` is a group of commands,
which its package holds."""


class _LazyGroup(click.Group):
    """Imports a command only when it is called, so that a start stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        folder = COMMANDS[cmd_name][0]
        module = folder if name == folder else f"{folder}.{name}"
        command = getattr(import_module(f"tumorlens.cli.{module}"), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"tumorlens {tumorlens.__version__}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def tumorlens_command() -> None:
    """Read brain MRI slices: what they show, how sure that is, and where.

    For research use only: TumorLens is not a medical device.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        The exit status: 0 all went well, 1 some input failed, 2 wrong use or
        nothing could be done, 130 interrupted.
    """
    # What matters in a broken picture is raised; Pillow's hints would only
    # stand between the rows of a table.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        status = tumorlens_command.main(
            args=None if arguments is None else list(arguments),
            prog_name="tumorlens",
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except TumorLensError as error:
        click.echo(f"Error: {error}", err=True)
        return EXIT_ERROR
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (such as `head`) has gone; nothing to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    return status if isinstance(status, int) else 0
