"""What can be done without the dashboard: `python -m fer_core COMMAND`, each a file of `fer_core/commands/`.

torch is imported by the commands that run a network; the others answer at once.
"""

from __future__ import annotations

import typer

from fer_core.commands.audit import audit_data
from fer_core.commands.calibrate import calibrate_checkpoint
from fer_core.commands.card import write_card
from fer_core.commands.cascade import score_cascade
from fer_core.commands.data import app as data_app
from fer_core.commands.evaluate import evaluate_checkpoint
from fer_core.commands.export import app as export_app
from fer_core.commands.predict import predict_pictures
from fer_core.commands.reference import make_run_reference
from fer_core.commands.report import write_report
from fer_core.commands.runs import show_runs
from fer_core.commands.soften import soften_labels
from fer_core.commands.submissions import app as submissions_app
from fer_core.commands.submit import submit_test
from fer_core.console import print_any_name
from fer_core.errors import FerError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.command("evaluate")(evaluate_checkpoint)
app.command("cascade")(score_cascade)
app.command("calibrate")(calibrate_checkpoint)
app.command("predict")(predict_pictures)
app.command("reference")(make_run_reference)
app.command("soften")(soften_labels)
app.command("submit")(submit_test)
app.command("runs")(show_runs)
app.command("audit")(audit_data)
app.command("report")(write_report)
app.command("card")(write_card)
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")
app.add_typer(submissions_app, name="submissions")


@app.callback()
def about() -> None:
    """Score and use the runs of train.py; see them with: streamlit run dashboard/Home.py"""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; an error that is meant for the user ends it with one line and exit code 1."""
    print_any_name()
    try:
        app(arguments)
    except FerError as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main()
