"""The command itself: which commands there are, and what happens to their errors. Holds no command."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelyard import __version__
from modelyard.cli import (
    accounts,
    aliases,
    audit,
    bench,
    cache,
    clusters,
    config,
    demo,
    doctor,
    events,
    jobs,
    keys,
    logs,
    models,
    nodes,
    problems,
    restricted,
    run,
    serve,
    simulate,
    tasks,
    usage,
    worker,
)

SERVING = "Serve"
USING = "Use models"
LOOKING = "Look after clusters"
ADMINISTRATION = "Administer"


class Root(TyperGroup):
    """Turns what commands raise into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if is_usage_error(error):
                raise
            raise typer.Exit(problems.report(error, debug=ctx.params["debug"])) from error


def is_usage_error(error: Exception) -> bool:
    """Whether typer itself knows what to say: it keeps its base class to itself, but only that has `exit_code`."""
    return hasattr(error, "exit_code")


def show_version(wanted: bool) -> None:
    """Prints the version and ends."""
    if wanted:
        typer.echo(f"modelyard {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="modelyard",
    cls=Root,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def modelyard(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="print the version")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="MODELYARD_DEBUG", help="show the trace of an error")
    ] = False,
) -> None:
    """Run any open model behind one API, on your own machines."""


app.command(rich_help_panel=SERVING)(serve.serve)
app.command(rich_help_panel=SERVING)(worker.worker)
app.command(rich_help_panel=SERVING)(demo.demo)
app.command(rich_help_panel=USING)(run.run)
app.command(rich_help_panel=USING)(bench.bench)
app.command(rich_help_panel=USING)(models.ls)
app.command(rich_help_panel=USING)(models.pull)
app.command(rich_help_panel=USING)(jobs.request)
app.command(rich_help_panel=USING)(jobs.jobs)
app.command(rich_help_panel=LOOKING)(clusters.ps)
app.command(rich_help_panel=LOOKING)(clusters.start)
app.command(rich_help_panel=LOOKING)(clusters.stop)
app.command(rich_help_panel=LOOKING)(clusters.rm)
app.command(rich_help_panel=LOOKING)(logs.logs)
app.command(rich_help_panel=LOOKING)(events.events)
app.add_typer(tasks.app, name="tasks", rich_help_panel=LOOKING)
app.add_typer(accounts.app, name="accounts", rich_help_panel=ADMINISTRATION)
app.add_typer(keys.app, name="keys", rich_help_panel=ADMINISTRATION)
app.add_typer(aliases.app, name="aliases", rich_help_panel=ADMINISTRATION)
app.add_typer(restricted.app, name="models", rich_help_panel=ADMINISTRATION)
app.add_typer(cache.app, name="cache", rich_help_panel=ADMINISTRATION)
app.command(rich_help_panel=ADMINISTRATION)(nodes.nodes)
app.command(rich_help_panel=ADMINISTRATION)(audit.audit)
app.command(rich_help_panel=ADMINISTRATION)(usage.usage)
app.add_typer(config.app, name="config", rich_help_panel=ADMINISTRATION)
app.command(rich_help_panel=ADMINISTRATION)(simulate.simulate)
app.command(rich_help_panel=ADMINISTRATION)(doctor.doctor)


def main() -> None:
    """Entry of the console script."""
    app(prog_name="modelyard")
