"""How long a recipe takes to an accuracy on the validation split, beside another recipe.

    python -m benchmarks.time_to_accuracy --data fer2013.parquet [--recipe fast] [--beside report-resnet] [--seeds 5]

The recipe is trained to its end with each seed; the other one, with the first seed, until it gets there. Seconds are
those of the clock on the wall from the call of `fit` to the checkpoint on the disk: whitening, validation after each
epoch, and writing are in it. Accuracies are without test-time augmentation, of the last epoch; beside each stands that
without the faces that stand pixel for pixel among those trained on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from fer_core.config import TrainConfig, load_recipe
from fer_core.data import FaceDataset, load_dataset
from fer_core.data.leaks import seen_in_training
from fer_core.evaluation import Share
from fer_core.memory import keep_freed_memory
from fer_core.provenance import describe_machine
from fer_core.runs import Run, create_run
from fer_core.training import Progress, fit, pick_device, run_info


@dataclass(frozen=True)
class Result:
    """One training: its last accuracy, also without the faces seen in training, how long it took, and when and in which
    epoch it first was as good as wanted."""

    accuracy: Share
    unseen: Share
    seconds: float
    reached: float | None
    epoch: int | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--beside", default="report-resnet", help='"none" for none')
    parser.add_argument("--target", type=float, default=0.615, help="the report's accuracy on Kaggle's test")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    keep_freed_memory()  # as train.py does
    faces, target = load_dataset(arguments.data), arguments.target
    machine = describe_machine(pick_device(arguments.device))
    print(f"{machine['device']}, {machine['threads']} threads, PyTorch {machine['torch']}; {faces.name}\n")

    config = replace(load_recipe(arguments.recipe), keep_epochs="all")
    print(f"{arguments.recipe}, {config.epochs} epochs")
    results = []
    for seed in range(arguments.seeds):
        results.append(trained(replace(config, seed=seed), faces, target, arguments.device, to_the_end=True))
        print(f"  seed {seed}: {line(results[-1], target)}", flush=True)
    accuracies = [result.accuracy.value for result in results]
    spread = f" (standard deviation {stdev(accuracies):.2%})" if len(results) > 1 else ""
    unseen = f"{mean(result.unseen.value for result in results):.2%} without seen faces"
    seconds = mean(result.seconds for result in results)
    print(f"  mean of {len(results)}: {mean(accuracies):.2%}{spread}, {unseen}, in {seconds:.1f} s")
    if arguments.beside == "none":
        return
    print(f"\n{arguments.beside}, until it has {target:.1%}")
    other_config = replace(load_recipe(arguments.beside), keep_epochs="all")
    other = trained(other_config, faces, target, arguments.device, to_the_end=False)
    print(f"  seed 0: {line(other, target)}")
    times = [result.reached for result in results if result.reached is not None]
    if times and other.reached is not None:
        told, ratio = f"mean of the {len(times)} of {len(results)} seeds that had it", other.reached / mean(times)
        print(f"\nTime to {target:.1%}: {mean(times):.1f} s ({told}) against {other.reached:.0f} s, {ratio:.1f}x")


def trained(config: TrainConfig, faces: FaceDataset, target: float, device: str, to_the_end: bool) -> Result:
    """Train in a folder that goes away again; without `to_the_end` only until the target is reached."""
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder), "run", run_info(config, faces, device))

        def watch(progress: Progress) -> None:
            if not to_the_end and progress.validation_accuracy >= target:
                run.request_stop()

        began = time.time()
        fit(config, faces, run, device, report=watch)
        return result_of(run, faces, began, target)


def result_of(run: Run, faces: FaceDataset, began: float, target: float) -> Result:
    scores = run.metrics()
    scores = scores[scores["split"] == "validation"]
    seconds = {epoch: run.checkpoint_path(epoch).stat().st_mtime - began for epoch in run.epochs()}
    last = scores.iloc[-1]
    first = next((int(row.epoch) for row in scores.itertuples() if row.accuracy >= target), None)
    asked, said = faces.split("validation").labelled(), run.predictions("validation")
    assert said is not None
    right = said.probabilities[-1].argmax(axis=1) == asked.emotions
    unseen = right[~seen_in_training(faces.split("train").labelled().images, asked.images)]
    return Result(
        Share(int(right.sum()), len(right)),
        Share(int(unseen.sum()), len(unseen)),
        seconds[int(last.epoch)],
        None if first is None else seconds[first],
        first,
    )


def line(result: Result, target: float) -> str:
    when = f"after epoch {result.epoch}, {result.reached:.1f} s" if result.reached else "never"
    return f"{result.accuracy}, {result.unseen} without seen faces, in {result.seconds:.1f} s; {target:.1%} {when}"


if __name__ == "__main__":
    main()
