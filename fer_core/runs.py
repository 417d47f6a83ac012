"""Run directories: all that is known of one training, as plain files that are safe to read while it goes on.

    run.json                   config, data fingerprint, versions, hardware
    metrics.jsonl              a line an epoch and split, and a line every few steps; a torn last line is skipped
    epoch-NNN.safetensors      weights of a kept epoch; how to rebuild the model stands in the header
    exclude.csv, relabel.csv   the faces that were left out and labelled anew before training
    predictions-<split>.npz    probabilities float16 (epochs, N, 7) of the kept epochs
    dynamics.bin               the probability of each training face's label, an epoch a line, see fer_core.dynamics
    calibration.json           temperatures fitted on held-out faces, see fer_core.calibration
    state.safetensors          optimiser and full-precision weights: where a killed run goes on
    status.json                running, finished, stopped or failed; heartbeat; last error

Every file is written beside its name and moved into place, so a kill at any instant leaves the last good one; but
metrics.jsonl and dynamics.bin only grow, and what is torn at their end is skipped. Nothing here executes what it loads:
JSON, safetensors and plain arrays only.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fer_core.config import TrainConfig, make_config
from fer_core.data import FaceDataset, split_validation
from fer_core.data.curation import apply_curation
from fer_core.errors import CheckpointError, ConfigError, DataError, FerError, RunError
from fer_core.labels import EMOTIONS
from fer_core.preprocess import Preprocess

if TYPE_CHECKING:  # listing and drawing runs must not wait seconds for torch
    from torch import Tensor, nn

FORMAT_VERSION = 1
CHECKPOINTS = Path("checkpoints")
_ASIDE = ".tmp"  # the end of a name under which a file is written before it is moved into place
HEARTBEAT_TIMEOUT = 60.0  # seconds without a sign of life after which a "running" run counts as interrupted


@dataclass(frozen=True)
class Status:
    """What a run is doing: "running", "finished", "stopped", "failed", or "interrupted" (its process is gone)."""

    state: str
    heartbeat: float = 0.0
    pid: int = 0
    host: str = ""
    error: str = ""
    progress: dict[str, Any] = field(default_factory=dict)
    """`fer_core.training.Progress` as plain values; empty before the first second of training."""


@dataclass(frozen=True)
class Checkpoint:
    """One epoch's weights, ready to run. `model` is in evaluation mode on the CPU."""

    run: str
    epoch: int
    model: nn.Module
    preprocess: Preprocess
    scores: dict[str, Any]


@dataclass(frozen=True)
class Predictions:
    """Probabilities of the kept epochs on one split: float16 (len(epochs), N, 7)."""

    epochs: tuple[int, ...]
    probabilities: np.ndarray
    split: str
    fingerprint: str


@dataclass(frozen=True)
class Run:
    """One run directory. Nothing is read before it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        return Path(os.path.abspath(self.path)).name  # noqa: PTH100 (of `.` the folder's, of a link the link's own)

    @cached_property
    def info(self) -> dict[str, Any]:
        """run.json. Raises RunError if it is missing, broken or from a newer format."""
        path = self.path / "run.json"
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run: it holds no run.json.") from None
        except (ValueError, OSError) as error:
            raise RunError(f"{path} cannot be read ({error}); restore it or delete the run.") from error
        if not isinstance(info, dict) or "config" not in info:
            raise RunError(f"{path} holds no config; restore it or delete the run.")
        _check_version(path, info.get("format_version", 0), RunError)
        return info

    @cached_property
    def config(self) -> TrainConfig:
        try:
            return make_config(self.info["config"])
        except ConfigError as error:
            raise RunError(f"{self.path / 'run.json'}: {error}") from error

    def extended(self, changes: dict[str, Any]) -> TrainConfig:
        """The config with other `epochs` or `keep_epochs`; ConfigError for any other change, as what was trained so far
        was trained with the values that are there, and for fewer epochs than were trained."""
        fixed = [key for key in changes if key not in ("epochs", "keep_epochs")]
        if fixed:
            raise ConfigError(f"A resumed run keeps its {', '.join(fixed)}; only epochs and keep_epochs can change.")
        config, done = make_config(self.config.to_dict(), changes), max(self.epochs(), default=0)
        if config.epochs < done:
            raise ConfigError(f"{self.name} was trained for {done} epochs already; give --epochs {done} or more.")
        return config

    def set_config(self, config: TrainConfig) -> None:
        """Write another config to run.json."""
        if config != self.config:
            info = {**self.info, "config": config.to_dict()}
            _write_text(self.path / "run.json", json.dumps(info, indent=2) + "\n")
            vars(self).update(info=info, config=config)

    def split_as_in_training(self, dataset: FaceDataset) -> FaceDataset:
        """The data with the validation faces that the run held out, where it was trained on these very faces. Other
        data keeps the splits that it has: faces drawn from it might be among those that the run learned from. Data with
        validation faces of its own keeps those that the run left out or labelled anew: all runs are scored on them."""
        trained_on = self._as_trained_on(dataset)
        keeps_its_own = self.curation_files and len(dataset.split("validation"))
        return dataset if trained_on is None or keeps_its_own else trained_on

    def _as_trained_on(self, dataset: FaceDataset) -> FaceDataset | None:
        """The faces, labels and splits that the run was trained and scored on, where `dataset` is that data."""
        try:
            curated, _ = apply_curation(dataset, **self.curation_files)
        except DataError:  # no face of this data was decided on
            return None
        split = split_validation(curated, self.config.validation_fraction, self.config.seed)
        return split if self.began_with(split) else None

    @property
    def curation_files(self) -> dict[str, Path]:
        """The CSVs of faces that were left out ("exclude") and labelled anew ("relabel") before training."""
        return {what: path for what in ("exclude", "relabel") if (path := self.path / f"{what}.csv").exists()}

    @property
    def data_fingerprint(self) -> str:
        """`fingerprint_without_test` of the data that the run was trained and scored on; "" where it noted none."""
        return str(self.info.get("data", {}).get("fingerprint", ""))

    def began_with(self, dataset: FaceDataset) -> bool:
        """Are these the faces, labels and splits that the run was trained and scored on?"""
        return dataset.fingerprint_without_test == self.data_fingerprint

    def training_faces(self, dataset: FaceDataset) -> FaceDataset | None:
        """The labelled faces that the run learned from; None where `dataset` is not the data that it was trained on."""
        trained_on = self._as_trained_on(dataset)
        return None if trained_on is None else trained_on.split("train").labelled()

    def write_text(self, name: str, text: str) -> None:
        """A file of the run, in place at once or not at all. Raises OSError."""
        _write_text(self.path / name, text)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def append_metrics(self, **record: Any) -> None:
        """Add a line to metrics.jsonl, flushed at once."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """All whole lines of metrics.jsonl; a torn one is skipped."""
        try:
            lines = (self.path / "metrics.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [record for line in lines if (record := _parse_line(line))]

    def metrics(self, kind: str = "epoch") -> pd.DataFrame:
        """Epoch lines ("epoch") or the lines within epochs ("step") as a table: epoch, step, split, loss, accuracy, n,
        lr, seconds; validation lines hold the confusion matrix as nested lists."""
        return pd.DataFrame([record for record in self.records() if record["kind"] == kind], columns=METRIC_COLUMNS)

    def rewind(self, epoch: int) -> None:
        """Forget all that came after `epoch`: metrics, checkpoints and predictions of a run that was cut off, and files
        that it had not written to their end."""
        lines = [json.dumps(record) for record in self.records() if record["epoch"] <= epoch]
        _write_text(self.path / "metrics.jsonl", "".join(line + "\n" for line in lines))
        self.keep([e for e in self.epochs() if e <= epoch])
        for half_written in self.path.glob(f".*{_ASIDE}"):
            half_written.unlink(missing_ok=True)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint_path(self, epoch: int) -> Path:
        return self.path / f"epoch-{epoch:03d}.safetensors"

    def epochs(self) -> list[int]:
        """The epochs whose checkpoints are there, in order."""
        found = (path.stem.removeprefix("epoch-") for path in self.path.glob("epoch-*.safetensors"))
        return sorted(int(text) for text in found if text.isdigit())

    def best_epoch(self) -> int | None:
        """The kept epoch with the highest validation accuracy; without any score the last; None without checkpoints."""
        epochs = self.epochs()
        table = self.metrics()
        table = table[(table["split"] == "validation") & table["epoch"].isin(epochs)]
        if table.empty:
            return epochs[-1] if epochs else None
        return int(table.loc[table["accuracy"].idxmax(), "epoch"])

    def keep(self, epochs: list[int]) -> None:
        """Delete the checkpoints and predictions of all other epochs."""
        for epoch in set(self.epochs()) - set(epochs):
            self.checkpoint_path(epoch).unlink()
        for path in self.path.glob("predictions-*.npz"):
            saved = self.predictions(path.stem.removeprefix("predictions-"))
            if saved and not set(saved.epochs) <= set(epochs):
                rows = [row for row, epoch in enumerate(saved.epochs) if epoch in epochs]
                self._write_predictions(saved, tuple(saved.epochs[row] for row in rows), saved.probabilities[rows])

    def save_checkpoint(
        self, epoch: int, weights: dict[str, Tensor], preprocess: Preprocess, scores: dict[str, Any]
    ) -> None:
        """Write an epoch's weights (see `stored`) with all that it takes to rebuild the model in the header."""
        header = {
            "model": self.config.model,
            "model_args": self.config.model_args,
            "labels": EMOTIONS,
            "preprocess": preprocess.to_dict(),
            "run": self.name,
            "epoch": epoch,
            "scores": scores,
        }
        write_tensors(self.checkpoint_path(epoch), weights, header)

    def require_epoch(self, epoch: int | None = None) -> int:
        """An epoch whose checkpoint is there: this one, or the best kept one for None. Raises CheckpointError."""
        epoch = self.best_epoch() if epoch is None else epoch
        if epoch is None:
            raise CheckpointError(f"{self.path} holds no checkpoint yet; train it for at least one epoch.")
        if not self.checkpoint_path(epoch).exists():
            kept = ", ".join(map(str, self.epochs())) or "none"
            raise CheckpointError(f"{self.name} kept no checkpoint of epoch {epoch}; the epochs kept are: {kept}.")
        return epoch

    def load_checkpoint(self, epoch: int | None = None) -> Checkpoint:
        """The weights of an epoch (the best kept one for None) in a model built for them.

        Raises CheckpointError if there is no such epoch, or its file is truncated, no safetensors file, from a newer
        format or of another architecture.
        """
        checkpoint = load_checkpoint_file(self.checkpoint_path(self.require_epoch(epoch)))
        return replace(checkpoint, run=self.name)  # the file still has the name that a renamed run had

    # -- predictions --------------------------------------------------------------------------------------------------

    def predictions(self, split: str) -> Predictions | None:
        """What the kept epochs said of a split, or None where nothing (readable) was saved."""
        path = self.path / f"predictions-{split}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                epochs = tuple(int(epoch) for epoch in file["epochs"])
                return Predictions(epochs, file["probabilities"], split, str(file["fingerprint"]))
        except _unreadable():
            return None  # predictions only save time: without them they are computed again

    def save_predictions(self, epoch: int, probabilities: np.ndarray, split: str, fingerprint: str) -> None:
        """Add one epoch's probabilities (N, 7) on a split; those on other data are replaced."""
        saved = self.predictions(split)
        row = halved(probabilities)[None]
        if saved is None or saved.fingerprint != fingerprint:
            saved = Predictions((), row[:0], split, fingerprint)
        others = [i for i, e in enumerate(saved.epochs) if e != epoch]
        epochs = (*(saved.epochs[i] for i in others), epoch)
        self._write_predictions(saved, epochs, np.concatenate([saved.probabilities[others], row]))

    def _write_predictions(self, like: Predictions, epochs: tuple[int, ...], probabilities: np.ndarray) -> None:
        with _replacing(self.path / f"predictions-{like.split}.npz") as aside, aside.open("wb") as file:
            np.savez_compressed(
                file,
                epochs=np.array(epochs, np.int32),
                probabilities=probabilities,
                fingerprint=np.array(like.fingerprint),
            )

    # -- status -------------------------------------------------------------------------------------------------------

    def write_status(self, state: str, error: str = "", progress: dict[str, Any] | None = None) -> None:
        now = time.time()
        record = {"state": state, "pid": os.getpid(), "host": platform.node(), "heartbeat": now, "error": error}
        _write_text(self.path / "status.json", json.dumps({**record, "progress": progress or {}}))

    def status(self) -> Status:
        """What the run is doing. A shipped run has no status file any more: it counts as finished."""
        try:
            record = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
            status = Status(**record)
        except FileNotFoundError:
            return Status("finished" if self.epochs() else "stopped")
        except (ValueError, TypeError, OSError) as error:
            return Status("interrupted", error=f"status.json cannot be read: {error}")
        return Status("interrupted", status.heartbeat) if status.state == "running" and _is_dead(status) else status

    def request_stop(self) -> None:
        """Ask the training process to stop after its current step; works whoever started it."""
        (self.path / "stop").touch()

    @contextmanager
    def training(self) -> Iterator[Callable[..., None]]:
        """Marks the run as running, and at the end as finished, stopped or failed with the reason.

        Yields a function that beats the heart (at most once a second), with the progress last given to it, and leaves
        the block where a stop was asked for.
        Raises RunError where the run is being trained already.
        """
        if (status := self.status()).state == "running":
            process = f"process {status.pid} on {status.host}"
            raise RunError(f"{self.name} is already being trained by {process}; stop that one first.")
        stop = self.path / "stop"
        stop.unlink(missing_ok=True)
        last, progress = time.monotonic(), dict[str, Any]()

        def beat(news: dict[str, Any] | None = None) -> None:
            nonlocal last, progress
            progress = news or progress
            if time.monotonic() - last > 1:
                self.write_status("running", progress=progress)
                last = time.monotonic()
            if stop.exists():
                raise StopRequestedError

        try:
            self.write_status("running")  # in here: Ctrl-C may come as soon as it is written
            yield beat
            self.write_status("finished")
        except StopRequestedError:
            self.write_status("stopped")
        except KeyboardInterrupt:
            self.write_status("stopped")
            raise
        except BaseException as error:
            self.write_status("failed", error=str(error) if isinstance(error, FerError) else repr(error))
            raise
        finally:
            stop.unlink(missing_ok=True)


class StopRequestedError(Exception):
    """Somebody asked the training to stop; it never leaves `Run.training`."""


METRIC_COLUMNS = ["kind", "epoch", "step", "split", "loss", "accuracy", "n", "lr", "seconds", "confusion"]


NO_NAME = "'{name:.60}' cannot be a run's name; use letters, digits, dots and dashes, 200 at most."


def is_name(name: str) -> bool:
    """Can a run, a folder, be called so? RUN:EPOCH names a checkpoint, so no colon; systems allow 255 bytes."""
    return name == Path(name).name and name[:1] not in ("", ".") and ":" not in name and len(os.fsencode(name)) <= 200


def create_run(root: Path, name: str, info: dict[str, Any]) -> Run:
    """A new run directory with its run.json. Raises RunError if the name is taken or cannot be a folder's name."""
    if not is_name(name):
        raise RunError(NO_NAME.format(name=name))
    path = root / name
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise RunError(f"There is already a run at {path}; choose another --name, or --resume {name}.") from None
    _write_text(path / "run.json", json.dumps({"format_version": FORMAT_VERSION, **info}, indent=2) + "\n")
    return Run(path)


def free_name(root: Path, wanted: str, is_taken: Callable[[str], bool] = lambda _: False) -> str:
    """`wanted`, or the first of wanted-2, wanted-3, ... that is no run yet, nor taken for another reason."""
    names = (wanted if i == 1 else f"{wanted}-{i}" for i in range(1, 10**6))
    return next(name for name in names if not (root / name).exists() and not is_taken(name))


def list_runs(root: Path = CHECKPOINTS) -> list[Run]:
    """All run directories below `root`, sorted by name; damaged ones are listed too and raise when they are read."""
    return [Run(path.parent) for path in sorted(root.glob("*/run.json"))]


def find_run(name: str | Path, root: Path = CHECKPOINTS) -> Run:
    """A run by its name below `root`, or by the path of its directory. Raises RunError naming the runs there are."""
    for path in (root / name, Path(name)):
        with suppress(OSError):  # a name longer than the system allows
            if (path / "run.json").exists():
                return Run(path)
    known = ", ".join(run.name for run in list_runs(root)) or "none"
    raise RunError(f"There is no run '{name}' in {root}; the runs are: {known}.")


def find_checkpoint(text: str, root: Path = CHECKPOINTS) -> tuple[Run, int | None]:
    """A run and one of its epochs from RUN[:EPOCH] as a person writes it; EPOCH is a number, "last", or "best", as
    also where none is given. The epoch is None where the run kept no checkpoint.

    Raises RunError for an unknown run, and for an EPOCH that is none of these.
    """
    name, colon, epoch = text.rpartition(":")
    if not colon or "/" in epoch or "\\" in epoch:  # a colon within a path is part of it
        name, epoch = text, "best"
    run = find_run(name, root)
    if epoch == "best":
        return run, run.best_epoch()
    if epoch == "last":
        return run, max(run.epochs(), default=None)
    if not epoch.isdecimal():
        raise RunError(f"'{epoch}' in '{text}' is no epoch; write a number, best or last, as in {name}:best.")
    return run, int(epoch)


def load_checkpoint_file(path: Path) -> Checkpoint:
    """The model in one checkpoint file; see `Run.load_checkpoint` for what it raises."""
    from fer_core.models import create_model

    tensors, header = read_tensors(path)
    if header.get("labels") != list(EMOTIONS):
        raise CheckpointError(f"{path} was trained for other labels: {header.get('labels')}; evaluate it elsewhere.")
    try:
        model = create_model(header["model"], header["model_args"])
        model.load_state_dict(restored(tensors))
        preprocess = Preprocess(**header["preprocess"])
        return Checkpoint(header["run"], header["epoch"], model.eval(), preprocess, header.get("scores", {}))
    except KeyError as error:
        raise CheckpointError(f"{path} lacks {error} in its header; copy or train it again.") from error
    except (ConfigError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not fit the model it names ({header['model']}): {_reason(error)}"
        ) from error


def halved(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (N, 7) as they are kept, float16: rounded, but what led before still leads."""
    half: np.ndarray = probabilities.astype(np.float16)
    leader = probabilities.argmax(axis=1)
    tied = np.flatnonzero(half.argmax(axis=1) != leader)  # an earlier emotion was rounded to the same number
    half[tied, leader[tied]] = np.nextafter(half[tied, leader[tied]], np.float16(2))
    return half


def stored(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a checkpoint holds them: kernels and matrices in float16, all else (norms, biases) in full."""
    return {name: t.half() if t.is_floating_point() and t.dim() > 1 else t for name, t in weights.items()}


def restored(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a model takes them: float32."""
    return {name: t.float() if t.is_floating_point() else t for name, t in weights.items()}


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """A safetensors file with a JSON header, in place at once or not at all. Raises RunError where the disk is full."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with _replacing(path) as aside:
        metadata = {"fer_core": json.dumps({"format_version": FORMAT_VERSION, **header})}
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside, metadata)
        except SafetensorError as error:  # what it makes of an OSError
            raise RunError(f"{path} cannot be written ({error}); make room on the disk.") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file written by `write_tensors`. Raises CheckpointError saying what is wrong with it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = dict(json.loads((file.metadata() or {})["fer_core"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}); copy or train it again.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} was not written by this project: it has no fer_core header.") from error
    _check_version(path, header.get("format_version", 0), CheckpointError)
    return tensors, header


def _reason(error: Exception) -> str:
    """What an error says, in one line: torch puts what does not fit below a first line that tells nothing."""
    lines = str(error).splitlines()
    text = " ".join(lines[1:2] or lines).strip()
    return text if len(text) <= 160 else f"{text[:160]}..."


def _check_version(path: Path, version: Any, error: type[RunError]) -> None:
    if version != FORMAT_VERSION:
        raise error(f"{path} has format {version}, this version reads format {FORMAT_VERSION}; update the project.")


def _parse_line(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"kind", "epoch"} <= record.keys() else None


def _is_dead(status: Status) -> bool:
    if time.time() - status.heartbeat > HEARTBEAT_TIMEOUT:
        return True
    if os.name != "posix" or status.host != platform.node():
        return False  # no way to ask, or none that does no harm: wait for the heartbeat to grow old
    try:
        os.kill(status.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _write_text(path: Path, text: str) -> None:
    with _replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, moved into place (after it reached the disk) when all went well."""
    aside = path.with_name(f".{path.name}.{os.getpid()}{_ASIDE}")
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        _move(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _move(aside: Path, path: Path) -> None:
    """Moves a file into place. Windows refuses that while another process reads the old one, as the dashboard does for
    milliseconds: it is waited for."""
    for pause in (0.01, 0.05, 0.2, 1.0):
        try:
            aside.replace(path)
            return
        except PermissionError:
            time.sleep(pause)
    aside.replace(path)


def _unreadable() -> tuple[type[Exception], ...]:
    """What numpy raises for an .npz file that is none, or damaged."""
    import zlib
    from zipfile import BadZipFile

    return OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error
