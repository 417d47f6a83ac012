"""The audit of a data set and its command, against numbers counted another way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core.__main__ import main
from fer_core.data import FaceDataset, demo_faces, load_dataset
from fer_core.data.audit import audit, imbalance
from fer_core.data.quality import mean_faces, measure_quality
from fer_core.labels import EMOTIONS


@pytest.fixture(scope="module")
def flawed() -> FaceDataset:
    """210 rendered faces; rows 200 to 209 are flawed: two constant, one nearly, four copies (two with another label,
    one into validation), three mirror images with their own label in validation."""
    faces = demo_faces()
    rows = np.random.default_rng(2).choice(np.flatnonzero(faces.splits == 0), 210, replace=False)
    images, emotions = np.array(faces.images[rows]), faces.emotions[rows].copy()
    splits = np.zeros(210, np.int8)
    images[200:202], images[202] = 0, 100
    images[202, ::2] = 102
    images[203:207] = images[[10, 11, 12, 13]]
    emotions[203:207] = emotions[[10, 11, 12, 13]]
    emotions[203:205] = (emotions[203:205] + 1) % 7
    images[207:210] = images[20:23, :, ::-1]
    emotions[207:210] = emotions[20:23]
    splits[206:] = 1
    ids = np.array([f"face-{i:03d}" for i in range(210)])
    return FaceDataset(images, emotions, splits, ids, "Flawed")


def test_what_was_planted_is_found(flawed: FaceDataset) -> None:
    found = audit(flawed)
    assert found.distinct == 205
    assert np.flatnonzero(found.quality.constant).tolist() == [200, 201]
    assert np.flatnonzero(found.quality.blank).tolist() == [200, 201, 202]
    assert sorted(rows.tolist() for rows in found.exact.members) == [
        [10, 203],
        [11, 204],
        [12, 205],
        [13, 206],
        [200, 201],
    ]
    conflicts = sorted(rows.tolist() for rows in found.conflicts(found.exact))
    own = [[200, 201]] if flawed.emotions[200] != flawed.emotions[201] else []
    assert conflicts == [[10, 203], [11, 204], *own]
    assert found.leaks(found.exact).loc["validation", "train"] == 1
    assert found.leaks(found.near).loc["validation", "train"] == 3
    assert sorted(rows.tolist() for rows in found.near.members) == [[20, 207], [21, 208], [22, 209]]


def test_imbalance(flawed: FaceDataset) -> None:
    train = flawed.split("train")
    counts = np.bincount(train.emotions, minlength=7)
    assert imbalance(flawed)["train"] == pytest.approx(counts.max() / counts.min())


def test_quality_by_hand() -> None:
    images = np.zeros((3, 48, 48), np.uint8)
    images[1, :, 24:] = 200
    images[2] = 90
    quality = measure_quality(images)
    assert quality.brightness.tolist() == [0, 100, 90]
    assert quality.contrast.tolist() == [0, 100, 0]
    # The edge of 200 gives the two columns beside it, of 46, a Laplacian of 200 and -200.
    assert quality.sharpness[1] == pytest.approx(200 * np.sqrt(2 / 46), rel=1e-5)
    assert quality.turn.tolist() == [0, 0, 0]  # its one edge lies in the very middle
    assert quality.constant.tolist() == [True, False, True]


def test_sharpness_falls_with_blur_and_turn_mirrors() -> None:
    faces = demo_faces().images[:100]
    blurred = ((faces[:, :, :-1].astype(int) + faces[:, :, 1:]) // 2).astype(np.uint8)
    blurred = np.concatenate([blurred, blurred[:, :, -1:]], axis=2)
    quality = measure_quality(faces)
    assert (measure_quality(blurred).sharpness < quality.sharpness).all()
    mirrored = measure_quality(np.ascontiguousarray(faces[:, :, ::-1])).turn
    np.testing.assert_allclose(mirrored, -quality.turn, atol=1e-4)


def test_turn_goes_with_the_true_yaw(capsys: pytest.CaptureFixture[str]) -> None:
    faces = demo_faces()
    r = np.corrcoef(measure_quality(faces.images).turn, faces.extra["yaw"])[0, 1]
    with capsys.disabled():
        print(f"\nturn against the true yaw of {len(faces):,} rendered faces: r = {r:.2f} (at least 0.70)")
    assert r >= 0.70


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images, emotions = demo_faces().images[:300], demo_faces().emotions[:300]
    whole, means = measure_quality(images), mean_faces(images, emotions)
    monkeypatch.setattr("fer_core.data.quality._BLOCK", 7)
    np.testing.assert_allclose(measure_quality(images).sharpness, whole.sharpness)
    np.testing.assert_allclose(mean_faces(images, emotions), means)


def test_mean_faces(faces: FaceDataset) -> None:
    only = faces.subset(faces.emotions != 4)
    means = mean_faces(only.images, only.emotions)
    np.testing.assert_allclose(means[2], only.images[only.emotions == 2].mean(axis=0), atol=1e-3)
    assert np.isnan(means[4]).all()


def printed(capsys: Any, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    assert not ended.value.code
    return str(capsys.readouterr().out)


def test_the_command(capsys: Any, fer2013_path: Path) -> None:
    text = printed(capsys, str(fer2013_path))
    assert "FER2013: 35,887 faces, 34,034 of them distinct" in text
    assert "Constant (one gray level): 12 (" in text
    assert "Conflicting labels: 47 groups, 129 labelled faces" in text
    found = json.loads(printed(capsys, str(fer2013_path), "--json"))
    assert (found["n"], found["distinct"], len(found["constant"])) == (35_887, 34_034, 12)
    exact = found["exact_duplicates"]
    assert (exact["also_in"]["validation"]["train"], exact["also_in"]["test"]["train"]) == (280, 288)
    assert (exact["conflicting_groups"], exact["conflicting_faces"], exact["groups"]) == (47, 129, 1_516)
    assert len(found["near_duplicates"]["members"]) == found["near_duplicates"]["groups"]


def test_the_command_on_demo_faces(capsys: Any) -> None:
    text = printed(capsys)
    assert text.startswith("Demo faces (rendered demo faces): 2,240 faces, 2,240 of them distinct")
    found = json.loads(printed(capsys, "--json"))
    assert found["is_demo"] is True
    assert found["counts"]["train"]["Happy"] == 224
    assert found["imbalance"] == {"train": 1.0, "validation": 1.0, "test": 1.0}
    assert found["exact_duplicates"]["members"] == []


def test_data_without_labels(capsys: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (4, 48 * 48))
    rows[3] = rows[1]
    (tmp_path / "test.csv").write_text("\n".join(["pixels", *(" ".join(map(str, row)) for row in rows), ""]))
    assert "4 faces, 3 of them distinct" in printed(capsys, str(tmp_path / "test.csv"))
    found = json.loads(printed(capsys, str(tmp_path / "test.csv"), "--json"))
    assert found["imbalance"] == {}
    assert found["exact_duplicates"]["members"] == [["test-00001", "test-00003"]]


def test_no_faces_at_all() -> None:
    empty = replace(demo_faces().subset(np.zeros(2240, bool)), name="None")
    found = audit(empty)
    json.dumps(found.to_dict(), allow_nan=False)
    assert (found.distinct, imbalance(empty)) == (0, {})


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="does not exist"):
        main(["audit", str(tmp_path / "nothing.csv")])


def test_names_in_the_summary() -> None:
    faces = load_dataset(Path(demo_faces.__globals__["DEMO_FACES"]))
    summary = audit(faces.subset(np.arange(50))).quality_summary()
    assert summary.index.tolist() == ["brightness", "contrast", "sharpness"]
    assert (summary["5 %"] <= summary["median"]).all()
    assert set(audit(faces.subset(np.arange(50))).to_dict()["counts"]["train"]) == {*EMOTIONS, "Unlabelled"}
