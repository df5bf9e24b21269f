"""`modelyard tasks`: what models can be asked to do, and with which fields. Needs no server."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import output

app = typer.Typer(no_args_is_help=True, help="Show the tasks, their inputs and their params.")


@app.command("ls")
def ls(json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List the tasks."""
    from modelyard.tasks.registry import TASKS

    if json:
        output.print_json([{"task": task.id, "summary": task.summary, "streams": task.streams} for task in TASKS])
        return
    rows = [(task.id, "yes" if task.streams else "", task.summary) for task in TASKS]
    output.print_table(("task", "streams", "summary"), rows, empty="There are no tasks.")


@app.command("show")
def show(
    task: Annotated[str, typer.Argument(help="the task's name, as `modelyard tasks ls` prints it")],
    json: Annotated[bool, typer.Option("--json", help="print JSON schemas")] = False,
) -> None:
    """Show a task's inputs, params and output, and an example."""
    from modelyard.tasks.reference import as_schemas, render
    from modelyard.tasks.registry import get_task

    found = get_task(task)
    if json:
        output.print_json(as_schemas(found))
    else:
        typer.echo(render(found), nl=False)
