"""What can be done without the dashboard: `python -m fer_core COMMAND`, each a file of `fer_core/commands/`.

torch is imported by the commands that run a network; the others answer at once.
"""

from __future__ import annotations

import typer

from fer_core.commands.data import show_data
from fer_core.commands.evaluate import evaluate_checkpoint
from fer_core.commands.predict import predict_pictures
from fer_core.commands.runs import show_runs
from fer_core.commands.submit import submit_test
from fer_core.errors import FerError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.command("evaluate")(evaluate_checkpoint)
app.command("predict")(predict_pictures)
app.command("submit")(submit_test)
app.command("runs")(show_runs)
app.command("data")(show_data)


@app.callback()
def about() -> None:
    """Score and use the runs of train.py; see them with: streamlit run dashboard/Home.py"""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; an error that is meant for the user ends it with one line and exit code 1."""
    try:
        app(arguments)
    except FerError as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main()
