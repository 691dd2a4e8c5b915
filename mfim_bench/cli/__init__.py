"""The command line: ``mfim-bench``. Importing it, ``--help`` and ``list`` import no torch.

Exit codes: 0 done; 1 the work finished but something in it failed; 2 wrong use (one line on stderr, no traceback).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mfim_bench import __version__
from mfim_bench.errors import RowError, UsageError
from mfim_bench.plugins import one_line, plugins

INTERRUPTED = 130
"""Exit code after Ctrl-C, by the shells' custom; typer returns it, too."""
MODULES = ("run", "swap", "listing", "check", "report", "ablation", "data", "weights", "bench")


def build() -> typer.Typer:
    """The whole command line: our verbs and the plugins' commands."""
    app = typer.Typer(
        name="mfim-bench",
        help="Measure face-identity-swap methods so that two people get the same number.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def common(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
        ] = False,
    ) -> None:
        pass

    for name in MODULES:
        importlib.import_module(f"mfim_bench.cli.{name}").register(app)
    source = plugins()
    for plugin in source.loaded:
        source.ask(plugin, "mfim_bench_commands", app=app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mfim-bench {__version__}")
        raise typer.Exit


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code.
    """
    try:
        code = build()(list(arguments), prog_name="mfim-bench", standalone_mode=False)
    except UsageError as error:
        return _say(error, str(error), 2)
    except RowError as error:
        return _say(error, str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        return _say(None, "interrupted", INTERRUPTED)
    except typer.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:  # `mfim-bench list methods | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # an unwritable folder, a full disk
        where = f"{error.filename}: " if error.filename else ""
        return _say(error, f"{where}{error.strerror or one_line(error)}", 2)
    except Exception as error:
        # click's own errors (unknown option, missing argument); typer ships click under a private name.
        if callable(message := getattr(error, "format_message", None)):
            return _say(error, message() or "wrong use; see mfim-bench --help", getattr(error, "exit_code", 2))
        raise
    if code == INTERRUPTED:
        return _say(None, "interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _say(error: Exception | None, message: str, code: int) -> int:
    if error is not None and os.environ.get("MFIM_BENCH_TRACEBACK"):
        raise error
    print(f"mfim-bench: {' '.join(message.split())}", file=sys.stderr)
    return code


def main() -> None:
    """Entry point of the ``mfim-bench`` script."""
    sys.exit(run_command(sys.argv[1:]))
