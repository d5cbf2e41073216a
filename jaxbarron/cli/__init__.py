"""The command line ``jaxbarron``: one module a command."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from jaxbarron.cli.atlas import atlas_command
from jaxbarron.cli.bound import bound_command
from jaxbarron.cli.bracket import bracket_command
from jaxbarron.cli.constant import constant_command
from jaxbarron.cli.kernel import kernel_command
from jaxbarron.cli.listing import activations_command
from jaxbarron.cli.output import show_error
from jaxbarron.cli.switch import switch_command
from jaxbarron.cli.tighten import tighten_command
from jaxbarron.cli.verify import verify_command
from jaxbarron.errors import JaxbarronError

__all__ = ["app", "main"]

app = typer.Typer(
    name="jaxbarron",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("switch", short_help="Switch a model's activations and report the change.")(
    switch_command
)
app.command("bound", short_help="Bound the change of a switched model on a region.")(bound_command)
app.command("kernel", short_help="Print a kernel with the certificate of its error.")(
    kernel_command
)
app.command("constant", short_help="Print the embedding constant of one activation in another.")(
    constant_command
)
app.command("bracket", short_help="Print the norm of a function on an interval.")(bracket_command)
app.command("tighten", short_help="Tighten the bounds of a norm to a gap.")(tighten_command)
app.command("atlas", short_help="Print which activation embeds in which.")(atlas_command)
app.command("verify", short_help="Derive the claims of certificates again.")(verify_command)
app.command("activations", short_help="List the registered activations.")(activations_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jaxbarron {importlib.metadata.version('jaxbarron')}")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Change the activation function of a trained JAX model, with a certificate.

    A kernel writes one activation as a sum of another: gelu(z) = sum of c * relu(a z + b), up to
    an error that is proved on the whole real line. Start with the demo, then print a kernel, then
    check its certificate:

    \b
      jaxbarron switch --demo digits --to relu --tol 1e-3
      jaxbarron kernel gelu relu --tol 1e-3 --save gelu.json
      jaxbarron verify gelu.json

    Exit status: 0 done; 1 a claim does not hold; 2 bad usage or bad input.
    """


def main() -> None:
    """Run the command line and leave with its exit status.

    A typed error of the library, and a file that cannot be read or written, becomes one message on
    stderr and exit status 2; no traceback.
    """
    try:
        app(prog_name="jaxbarron")
    except JaxbarronError as error:
        show_error(str(error))
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        show_error(
            f"given: the file{name}: {error.strerror or error}; expected: a place that can be "
            "read or written; do: check the path and its permissions"
        )
    sys.exit(2)
