"""Training: curves of one or several runs, live while one goes on; start, stop and resume."""

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import charts, state, widgets
from fer_core.config import load_recipe, recipe_names, recipe_result
from fer_core.data.load import DEMO_FACES
from fer_core.evaluation import Share
from fer_core.launch import is_alive, read_log, resume_training, start_training
from fer_core.runs import Run, Status

EVERY = 1.0  # seconds between two looks at a run that goes on


def curve_tables(run: Run, measure: str) -> list[tuple[str, str, pd.DataFrame]]:
    """The lines of a run: training and validation by epoch, and the running mean of an epoch that is going on."""
    table = state.metrics(run)
    lines = []
    for split, name in (("train", "training"), ("validation", "validation")):
        line = table.loc[table["split"] == split, ["epoch", measure]]
        if split == "train":
            line = pd.concat([line, unfinished(run, table, measure)])
        if len(line):
            lines.append((f"{run.name} (demo faces)" if state.is_demo_run(run) else run.name, name, line))
    return lines


def unfinished(run: Run, table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """What is known within the epoch that has not ended: its fraction as `epoch`, and the mean so far."""
    status = run.status()
    steps = status.progress.get("steps") if status.state == "running" else None
    if not steps:
        return pd.DataFrame(columns=["epoch", measure])
    done = table.loc[table["split"] == "train", "epoch"].max() if len(table) else 0
    within = state.metrics(run, "step")
    within = within[within["epoch"] > done]
    return pd.DataFrame({"epoch": within["step"] / steps, measure: within[measure]})


def watch(name: str) -> None:
    """One run that is going on or could go on: how far it is, what can be done, and its log."""
    found = [run for run in state.all_runs() if run.name == name]
    status = found[0].status() if found else None
    alive = is_alive(state.runs_folder(), name)
    begun = status is not None and status.heartbeat > 0  # before, its process imports torch and reads the faces
    with st.container(border=True, key=f"watch {name}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{name}**: {'starting' if alive and not begun else status.state if status else 'failed'}")
            if status and status.state == "running":
                st.button(
                    "Stop",
                    key=f"stop {name}",
                    icon=":material/stop:",
                    help="After the current step; it can be resumed",
                    on_click=stop,
                    args=(found[0],),
                )
            elif status and status.state == "finished":
                best = state.query(checkpoint=f"{name}:{state.best_epoch(found[0])}")
                st.page_link(
                    "views/samples.py",
                    label="See what it says of faces",
                    icon=":material/grid_view:",
                    query_params=best,
                )
            elif status and not alive:
                st.button(
                    "Resume",
                    key=f"resume {name}",
                    icon=":material/play_arrow:",
                    help="Go on after its last whole epoch",
                    on_click=resume,
                    args=(found[0],),
                )
        log = read_log(state.runs_folder(), name)
        if status and status.state == "running" and status.progress:
            st.progress(share_done(status.progress), text=told(status.progress))
        elif not alive and (why := why_not(status, log)):
            st.error(why, icon=":material/error:")
        if log:
            with st.expander("Log"):
                st.code("\n".join(log), language=None)


def why_not(status: Status | None, log: list[str]) -> str:
    """Why a run does not go on, "" where nothing went wrong: what its status says, else the last words of a process
    that ended before it could write one."""
    last = log[-1] if log else "It ended without a word."
    if status and not status.error:
        return last.removeprefix("Error: ") if last.startswith("Error: ") else ""
    return status.error if status else last.removeprefix("Error: ")


def share_done(progress: dict[str, float]) -> float:
    return min(1.0, (progress["epoch"] - 1 + progress["step"] / progress["steps"]) / progress["epochs"])


def told(progress: dict[str, float]) -> str:
    minutes, seconds = divmod(round(progress["eta_seconds"]), 60)
    left = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
    return (
        f"Epoch {progress['epoch']} of {progress['epochs']}, {left} left, {progress['images_per_second']:,.0f} faces/s"
    )


def begin() -> None:
    """Start what the form says; what is wrong with it stands below the form."""
    recipe = state.get("recipe")
    with state.refusals():
        name = start_training(
            recipe,
            data_of(state.get("train data")),
            state.runs_folder(),
            epochs=state.get(f"epochs {recipe}"),
            seed=state.get("seed"),
            name=state.get("run name") or "",
        )
        state.put("watched", [*state.get("watched", []), name])
        state.put("runs", [])  # the new curve alone: beside a long run it would be a dot


def resume(run: Run) -> None:
    data = DEMO_FACES if state.is_demo_run(run) else state.data_path() or DEMO_FACES
    with state.refusals():
        resume_training(run.name, data, state.runs_folder())
        state.put("watched", [*state.get("watched", []), run.name])


def stop(run: Run) -> None:
    with state.refusals():
        run.request_stop()


def data_of(text: str) -> Path:
    return DEMO_FACES if text == state.DEMO else Path(text)


def going_on() -> list[str]:
    """The runs to watch: those that are running, and those that this session started."""
    running = [run.name for run in state.all_runs() if not state.run_problem(run) and run.status().state == "running"]
    return list(dict.fromkeys([*state.get("watched", []), *running]))


def is_live(names: list[str]) -> bool:
    running = {run.name for run in state.all_runs() if run.status().state == "running"}
    return any(name in running or is_alive(state.runs_folder(), name) for name in names)


st.title("Training")
names = [run.name for run in state.runs()]
watched = going_on()
chosen = state.choice()
if state.get("runs") is None and not state.parameter("runs"):
    state.put("runs", [chosen.run.name] if chosen else [])  # no default of the widget: `begin` clears it
shown = (
    st.pills(
        "Runs",
        names,
        selection_mode="multi",
        key="runs",
        bind="query-params",
        help="Laid over one another: colour tells the run, dotted lines are training, whole lines validation",
    )
    if names
    else []
)
lively = is_live(watched)


@st.fragment(run_every=EVERY if lively else None)
def live() -> None:
    """All that moves while a training goes on."""
    if is_live(watched) != lively:
        st.rerun()  # one began or ended here: the page has to look again every second, or shows new checkpoints
    for name in watched:
        watch(name)
    runs = [run for run in state.runs() if run.name in shown or run.name in watched]
    accuracy, loss = st.columns(2, gap="medium")
    for place, measure in ((accuracy, "accuracy"), (loss, "loss")):
        lines = [line for run in runs for line in curve_tables(run, measure)]
        if lines:
            place.plotly_chart(charts.curves(lines, measure), key=f"{measure} curves", config={"displaylogo": False})
    if not runs:
        st.info("Choose a run above, or start one below.", icon=":material/monitoring:")


live()
for run in state.runs():
    if run.name in shown and run.name not in watched and run.status().state != "finished":
        watch(run.name)

with st.expander("Start a training", icon=":material/play_arrow:", expanded=not watched):
    sources = [str(path) for path in [state.data_path()] if path] + [state.DEMO]
    recipes = recipe_names()
    preferred = "demo" if state.faces().is_demo and "demo" in recipes else "fast"
    with st.container(horizontal=True):
        recipe = st.selectbox("Recipe", recipes, index=recipes.index(preferred), key="recipe", width=160)
        st.selectbox(
            "Data",
            sources,
            key="train data",
            accept_new_options=True,
            width=220,
            help="One of these, or type the path of a file or folder",
        )
        st.number_input("Epochs", 1, 10_000, load_recipe(recipe).epochs, key=f"epochs {recipe}", width=120)
        st.number_input(
            "Seed",
            0,
            2**31 - 1,
            0,
            key="seed",
            width=120,
            help="The same seed on the same machine gives the same weights",
        )
        st.text_input("Name", key="run name", placeholder=f"{recipe}, numbered", width=170)
    if measured := recipe_result(recipe):
        st.caption(f"Measured: {Share(measured['right'], measured['n'])} on {measured['on']}, in {measured['time']}.")
    st.button("Start", type="primary", icon=":material/play_arrow:", on_click=begin)
    widgets.show_refusal()

with st.expander("Every epoch as a table", icon=":material/table:"):
    tables = [
        state.metrics(run).drop(columns=["kind", "confusion"]).assign(run=run.name)
        for run in state.runs()
        if run.name in shown
    ]
    if tables:
        st.dataframe(pd.concat(tables).set_index("run"))
