"""Start `train.py` as a process of its own, as the dashboard does: it goes on when the dashboard is closed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from fer_core.config import load_recipe, parse_keep
from fer_core.errors import ConfigError, RunError
from fer_core.runs import NO_NAME, find_run, free_name, is_name

TRAIN = Path(__file__).parent.parent / "train.py"
_processes: dict[Path, subprocess.Popen[bytes]] = {}


def start_training(
    recipe: str, data: Path | str, runs: Path, *, epochs: int, seed: int, name: str = "", keep_epochs: str = ""
) -> str:
    """Begin a run and return its name. Its log is there at once (`read_log`), its directory once the data is read.

    Raises ConfigError for a recipe, value or name that `train.py` would refuse, before anything is started.
    """
    config = load_recipe(recipe, {"epochs": epochs, "seed": seed})
    keep = keep_epochs or config.keep_epochs
    parse_keep(keep)
    # A training that was begun just now has no directory yet.
    name = name.strip() or free_name(runs, config.recipe, lambda name: is_alive(runs, name))
    if not is_name(name):
        raise ConfigError(NO_NAME.format(name=name))
    if (runs / name).exists() or is_alive(runs, name):
        raise ConfigError(f"There is already a run '{name}'; choose another name or resume it.")
    options = ["--data", str(data), "--epochs", str(epochs), "--seed", str(seed), "--keep-epochs", keep, "--name", name]
    log_path(runs, name).unlink(missing_ok=True)
    _start(runs, name, [recipe, *options])
    _data_path(runs, name).write_text(str(Path(data).absolute()), encoding="utf-8")
    return name


def resume_training(name: str, data: Path | str, runs: Path) -> None:
    """Go on with a run after its last whole epoch, on the data on which `start_training` began it; on `data` where it
    was begun in another way. Raises RunError where it is running or not there."""
    if find_run(name, runs).status().state == "running":
        raise RunError(f"{name} is being trained already.")
    begun_on = _data_path(runs, name)
    data = begun_on.read_text(encoding="utf-8") if begun_on.exists() else data
    _start(runs, name, ["--resume", name, "--data", str(data)])


def is_alive(runs: Path, name: str) -> bool:
    """Is a process that this one started still at work on the run, be it only on reading the data?"""
    process = _processes.get((runs / name).resolve())
    return process is not None and process.poll() is None


def log_path(runs: Path, name: str) -> Path:
    """Where a run's process writes what it says: beside the runs, since one that fails early has no directory."""
    return runs / ".logs" / f"{name}.txt"


def _data_path(runs: Path, name: str) -> Path:
    """Where the data of a training is noted; not in its directory, which may be given away."""
    return log_path(runs, name).with_suffix(".data")


def read_log(runs: Path, name: str, lines: int = 30) -> list[str]:
    """The last lines of a run's log; of a progress bar only its last state."""
    try:
        text = log_path(runs, name).read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    whole = [line.split("\r")[-1].rstrip() for line in text.replace("\r\n", "\n").rstrip("\r\n").split("\n")]
    return [line for line in whole if line][-lines:]


def _start(runs: Path, name: str, arguments: list[str]) -> None:
    if not TRAIN.is_file():
        raise ConfigError(f"{TRAIN} is not there; start the dashboard from a checkout of the project.")
    log = log_path(runs, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRAIN), *arguments, "--runs", str(runs)]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    _processes[(runs / name).resolve()] = process
    # Waited for, so that a training that was killed is gone for `Run.status` and not a zombie that seems alive.
    threading.Thread(target=process.wait, daemon=True).start()
