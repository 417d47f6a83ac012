"""Whatever the form in which faces are stored, the same arrays come out of it."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fer_core.data import SPLITS, FaceDataset, LoadOptions, load_dataset
from fer_core.data.load import name_of
from fer_core.data.pictures import decode_all
from fer_core.errors import DataError
from fer_core.labels import EMOTIONS

FOLDERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def assert_same_faces(dataset: FaceDataset, sample: Any) -> None:
    np.testing.assert_array_equal(dataset.images, sample.images)
    np.testing.assert_array_equal(dataset.emotions, sample.emotions)
    np.testing.assert_array_equal(dataset.splits, sample.splits)
    assert [str(a.dtype) for a in (dataset.images, dataset.emotions, dataset.splits)] == ["uint8", "int8", "int8"]


def test_all_forms_with_official_splits_give_the_same_arrays(sample: Any) -> None:
    paths = [sample.icml_csv(), sample.fer2013_csv(), sample.parquet()]
    datasets = [load_dataset(path) for path in paths]
    for dataset in datasets:
        assert_same_faces(dataset, sample)
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    in_memory = FaceDataset(sample.images, sample.emotions, sample.splits, datasets[0].ids, "")
    assert datasets[0].fingerprint == in_memory.fingerprint


def test_the_content_decides_and_not_the_name(sample: Any) -> None:
    as_test = load_dataset(sample.train_csv("test.csv"))
    assert (as_test.splits == 0).all()
    np.testing.assert_array_equal(as_test.emotions, sample.emotions)
    as_data = load_dataset(sample.test_csv("train.dat"))
    assert (as_data.splits == 2).all()
    assert (as_data.emotions == -1).all()
    hidden_parquet = sample.parquet().rename(sample.folder / "faces.csv")
    assert_same_faces(load_dataset(hidden_parquet), sample)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "\n\n  \n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace(" ", "  "),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", " \n"),
        lambda text: text.replace("emotion,pixels,Usage", '"Emotion" , pixels,"usage"'),
        lambda text: re.sub(r"([^,\n]+)", r'"\1"', text),
    ],
    ids=["BOM", "CRLF", "blank-end", "no-end", "blank-lines", "two-blanks", "tabs", "blank-at-end", "header", "quotes"],
)
def test_harmless_differences_of_a_csv_change_nothing(sample: Any, change: Any) -> None:
    path = sample.fer2013_csv()
    path.write_bytes(change(path.read_text()).encode())
    assert_same_faces(load_dataset(path), sample)


def test_test_csv_is_unlabelled_and_numbered_from_zero(sample: Any) -> None:
    dataset = load_dataset(sample.test_csv())
    np.testing.assert_array_equal(dataset.images, sample.images)
    assert set(dataset.emotions) == {-1}
    assert dataset.ids[[0, 41]].tolist() == ["test-00000", "test-00041"]


def test_ids_number_the_rows_of_each_split(sample: Any) -> None:
    dataset = load_dataset(sample.fer2013_csv())
    assert len(set(dataset.ids)) == len(dataset)
    for split, name in enumerate(SPLITS):
        assert dataset.ids[dataset.splits == split].tolist() == [f"{name}-{i:05d}" for i in range(14)]


@pytest.mark.parametrize("label", ["emotion", "label", "labels"])
@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.float64()])
def test_parquet_columns_as_people_name_them(sample: Any, label: str, kind: pa.DataType) -> None:
    columns = {"img_bytes": sample.pngs(), label: pa.array(sample.emotions.astype(int), kind)}
    dataset = load_dataset(sample.parquet(columns))
    np.testing.assert_array_equal(dataset.images, sample.images)
    np.testing.assert_array_equal(dataset.emotions, sample.emotions)
    assert (dataset.splits == 0).all()


@pytest.mark.parametrize("encode", [pa.array, lambda names: pa.array(names).dictionary_encode()])
def test_parquet_labels_as_text(sample: Any, encode: Any) -> None:
    names = [FOLDERS[emotion] for emotion in sample.emotions]
    dataset = load_dataset(sample.parquet({"label": encode(names)}))
    np.testing.assert_array_equal(dataset.emotions, sample.emotions)
    assert dataset.summary.warnings == ()


def test_parquet_without_labels_and_with_missing_ones(sample: Any) -> None:
    assert set(load_dataset(sample.parquet({})).emotions) == {-1}
    assert set(load_dataset(sample.parquet({})).splits) == {2}
    some = [None if i < 5 else int(emotion) for i, emotion in enumerate(sample.emotions)]
    dataset = load_dataset(sample.parquet({"label": some}))
    assert dataset.emotions.tolist() == [-1] * 5 + sample.emotions[5:].tolist()
    minus_one = [-1 if label is None else label for label in some]
    assert load_dataset(sample.parquet({"label": minus_one})).fingerprint == dataset.fingerprint


def test_further_parquet_columns_are_kept_row_by_row(sample: Any) -> None:
    columns = {
        "emotion": pa.array(sample.emotions),
        "usage": ["train", "valid", "test"] * 14,
        "identity": np.arange(42, dtype=np.int16),
        "yaw": np.linspace(-1, 1, 42),
        "glasses": np.arange(42) % 2 == 0,
        "hair": [f"hair {i}" for i in range(42)],
        "landmarks": [[1, 2]] * 42,
    }
    for _ in range(2):  # read, then from the cache
        dataset = load_dataset(sample.parquet(columns))
        assert list(dataset.extra.columns) == ["identity", "yaw", "glasses", "hair"]
        assert dataset.extra["identity"].tolist() == list(range(42))
        assert dataset.extra["glasses"].dtype == bool
        test = dataset.split("test")
        assert test.extra["hair"].tolist() == [f"hair {i}" for i in range(2, 42, 3)]


@pytest.mark.parametrize("change", ["shuffled", "sliced", "twice", "two columns of one name"])
def test_a_table_that_pandas_wrote_keeps_each_face_beside_its_row(sample: Any, change: str) -> None:
    """Pandas keeps its index in the file, which says nothing of where a row stands."""
    frame = pq.read_table(sample.parquet({"emotion": pa.array(sample.emotions)})).to_pandas()
    frame["person"] = [f"p{face.tobytes().hex()[:12]}" for face in sample.images]
    changed = {
        "shuffled": frame.sample(frac=1, random_state=0),
        "sliced": frame[10:],
        "twice": pd.concat([frame, frame]),
        "two columns of one name": frame.assign(other="x"),
    }[change]
    path = sample.folder / "changed.parquet"
    table = pa.Table.from_pandas(changed)
    if change == "two columns of one name":
        table = table.rename_columns(["person" if name == "other" else name for name in table.column_names])
    pq.write_table(table, path)
    dataset = load_dataset(path)
    assert len(dataset) == len(changed)
    names = dataset.extra["person"]
    told = names.iloc[:, 0] if names.ndim == 2 else names
    assert told.tolist() == [f"p{face.tobytes().hex()[:12]}" for face in dataset.images]


def test_columns_of_two_kinds_are_read_though_not_kept(sample: Any) -> None:
    for name, person in (("train", pa.array(range(42))), ("test", pa.array([f"p{i}" for i in range(42)]))):
        sample.parquet({"label": pa.array(sample.emotions), "person": person}, f"mix/{name}.parquet")
    dataset = load_dataset(sample.folder / "mix")
    assert len(dataset) == 84
    assert any("could not be kept for the next time" in warning for warning in dataset.summary.warnings)


def test_names_that_are_no_utf8_are_read(sample: Any) -> None:
    folder = write_images(sample, "faces", "{split}/{emotion}")
    first = next(folder.rglob("*.png"))
    first.rename(os.fsdecode(os.fsencode(first.parent) + b"/caf\xe9.png"))
    dataset = load_dataset(folder)
    assert len(dataset) == 42
    assert sum(name.endswith("caf\\xe9.png") for name in dataset.ids) == 1
    "".join(dataset.ids).encode("utf-8")


def test_pictures_lie_as_their_camera_was_held(sample: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    stream = io.BytesIO()
    Image.fromarray(np.rot90(sample.images[0])).save(stream, "PNG", exif=exif)
    np.testing.assert_array_equal(decode_all([stream.getvalue()]).images[0], sample.images[0])


def test_no_program_of_others_is_run_for_a_picture() -> None:
    assert decode_all([b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]).broken == {
        0: "not a picture that can be read (unknown format)"
    }


def test_shards_of_a_hugging_face_folder_take_their_split_from_the_name(sample: Any) -> None:
    label = {"label": pa.array(sample.emotions)}
    for name in ("test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        sample.parquet(label, f"data/{name}.parquet")
    sample.write("README.md", "# A data set")
    dataset = load_dataset(sample.folder)
    assert np.bincount(dataset.splits).tolist() == [84, 42, 42]
    assert dataset.summary.files == tuple(
        f"data/{name}.parquet" for name in ("train-00000-of-00002", "validation-00000-of-00001", "test-00000-of-00001")
    )
    assert len(set(dataset.ids)) == 168
    assert load_dataset(sample.folder / "data" / "test-00000-of-00001.parquet").splits.tolist() == [2] * 42


def test_a_download_that_broke_off_is_refused(sample: Any) -> None:
    label = {"label": pa.array(sample.emotions)}
    for name in ("train-00001-of-00003", "test-00000-of-00001"):
        sample.parquet(label, f"data/{name}.parquet")
    with pytest.raises(DataError, match=r"is one of 3 files, and train-00000-of-00003\.parquet is not there"):
        load_dataset(sample.folder)


def write_images(sample: Any, root: str, pattern: str, kind: str = "PNG") -> Path:
    for i in range(len(sample.images)):
        stream = io.BytesIO()
        Image.fromarray(sample.images[i]).save(stream, kind)
        folder = pattern.format(split=("train", "valid", "test")[sample.splits[i]], emotion=FOLDERS[sample.emotions[i]])
        sample.write(f"{root}/{folder}/{i:02d}.{kind.lower()}", stream.getvalue())
    return Path(sample.folder) / root


def by_number(dataset: FaceDataset) -> FaceDataset:
    """The rows in the order of the numbers in their file names."""
    return dataset.subset(np.argsort([int(Path(name).stem) for name in dataset.ids]))


def test_image_folder_with_splits(sample: Any) -> None:
    folder = write_images(sample, "images", "{split}/{emotion}")
    dataset = load_dataset(folder)
    assert_same_faces(by_number(dataset), sample)
    assert dataset.ids[0] == "test/angry/" + Path(dataset.ids[0]).name
    assert dataset.summary.warnings == ()
    assert (load_dataset(folder / "valid").splits == 1).all()


def test_image_folders_of_emotions_alone_are_train(sample: Any) -> None:
    dataset = by_number(load_dataset(write_images(sample, "images", "{emotion}")))
    np.testing.assert_array_equal(dataset.emotions, sample.emotions)
    assert (dataset.splits == 0).all()


@pytest.mark.parametrize("names", [("Anger", "Happiness", "SADNESS"), ("angry", "happy", "sad")])
def test_folders_are_read_by_name_whatever_its_spelling(sample: Any, names: tuple[str, ...]) -> None:
    for name in names:
        sample.write(f"Training/{name}/face.png", sample.pngs()[0])
    dataset = load_dataset(sample.folder)
    assert sorted(EMOTIONS[emotion] for emotion in dataset.emotions) == ["Angry", "Happy", "Sad"]


def test_folders_of_numbers_are_read_in_the_order_asked_for(sample: Any) -> None:
    for i in range(42):
        stream = io.BytesIO()
        Image.fromarray(sample.images[i]).save(stream, "PNG")
        split = ("train", "valid", "test")[sample.splits[i]]
        sample.write(f"numbers/{split}/{sample.emotions[i]}/{i:02d}.png", stream.getvalue())
    folder = sample.folder / "numbers"
    dataset = load_dataset(folder)
    order = [int(Path(name).stem) for name in dataset.ids]
    np.testing.assert_array_equal(dataset.emotions, sample.emotions[order])
    np.testing.assert_array_equal(dataset.splits, sample.splits[order])
    assert any("--label-order alphabetical" in warning for warning in dataset.summary.warnings)
    sorted_by_name = load_dataset(folder, LoadOptions(label_order="alphabetical"))
    meant = np.array([0, 1, 2, 3, 6, 4, 5])  # 4 Neutral, 5 Sad, 6 Surprise
    np.testing.assert_array_equal(sorted_by_name.emotions, meant[sample.emotions[order]])
    assert sorted_by_name.summary.warnings == ()


def test_flat_folder_and_single_picture_are_unlabelled_test_faces(sample: Any) -> None:
    folder = write_images(sample, "photos", ".")
    dataset = load_dataset(folder)
    np.testing.assert_array_equal(by_number(dataset).images, sample.images)
    assert set(dataset.emotions) == {-1}
    assert set(dataset.splits) == {2}
    single = load_dataset(folder / "07.png")
    np.testing.assert_array_equal(single.images, sample.images[7:8])
    assert single.ids.tolist() == ["07.png"]


def test_pictures_in_folders_of_other_names_are_left_out_with_a_warning(sample: Any) -> None:
    png = sample.pngs()[0]
    for name in ("train/happy/a.png", "train/contempt/b.png", "test/c.png", "sketch.png"):
        sample.write(name, png)
    dataset = load_dataset(sample.folder)
    assert dataset.ids.tolist() == ["test/c.png", "train/happy/a.png"]
    assert dataset.emotions.tolist() == [-1, 3]
    assert len(dataset.summary.warnings) == 2
    assert "1 pictures in" in dataset.summary.warnings[0]
    assert "contempt were left out" in dataset.summary.warnings[1]


def test_jpeg_folder_and_parquet_of_the_same_bytes_agree(sample: Any) -> None:
    folder = write_images(sample, "images", "{split}/{emotion}", "JPEG")
    files = sorted(folder.rglob("*.jpeg"), key=lambda file: file.stem)
    parquet = load_dataset(sample.parquet(encoded=[file.read_bytes() for file in files]))
    np.testing.assert_array_equal(by_number(load_dataset(folder)).images, parquet.images)
    assert not np.array_equal(parquet.images, sample.images)  # JPEG loses something: the comparison above is a real one


def test_pictures_of_another_size_or_in_colour_are_converted_and_counted(sample: Any, picture: Any) -> None:
    big = np.kron(sample.images[0], np.ones((2, 2), np.uint8))
    colour = np.zeros((48, 48, 3), np.uint8)
    colour[..., 0] = 255
    pictures = {"big.png": big, "red.png": colour, "plain.png": sample.images[1], "both.png": colour[:10]}
    for name, array in pictures.items():
        sample.write(name, picture(array))
    for _ in range(2):
        dataset = load_dataset(sample.folder)
        assert (dataset.summary.resized, dataset.summary.recoloured) == (2, 2)
    faces = dict(zip(dataset.ids, dataset.images, strict=True))
    np.testing.assert_array_equal(faces["big.png"], sample.images[0])  # a pixel made four: their mean is the pixel
    np.testing.assert_array_equal(faces["plain.png"], sample.images[1])
    assert set(faces["red.png"].ravel()) == {76}  # ITU-R 601 luma of red: 0.299 * 255


def test_kaggle_folder_takes_the_file_that_tells_most(sample: Any) -> None:
    sample.train_csv(rows=np.flatnonzero(sample.splits == 0))
    sample.test_csv(rows=np.flatnonzero(sample.splits == 2))
    sample.icml_csv()
    sample.write("example_submission.csv", "id,emotion\n0,3\n")
    dataset = load_dataset(sample.folder)
    assert_same_faces(dataset, sample)
    assert dataset.summary.files == ("icml_face_data.csv",)
    left_alone = [note.split(":")[0] for note in dataset.summary.left_alone]
    assert left_alone == ["train.csv", "test.csv", "example_submission.csv"]


def test_train_and_test_csv_are_read_together(sample: Any) -> None:
    train, test = np.flatnonzero(sample.splits == 0), np.flatnonzero(sample.splits == 2)
    sample.train_csv(rows=train)
    sample.test_csv(rows=test)
    dataset = load_dataset(sample.folder)
    np.testing.assert_array_equal(dataset.images, sample.images[[*train, *test]])
    assert dataset.ids[[0, 14]].tolist() == ["train-00000", "test-00000"]
    assert dataset.summary.files == ("train.csv", "test.csv")


def test_several_labelled_csvs_are_told_apart_by_name(sample: Any) -> None:
    for split, name in enumerate(("train.csv", "val.csv", "test.csv")):
        sample.train_csv(name, np.flatnonzero(sample.splits == split))
    dataset = load_dataset(sample.folder)
    order = np.argsort(sample.splits, kind="stable")
    np.testing.assert_array_equal(dataset.splits, sample.splits[order])
    np.testing.assert_array_equal(dataset.emotions, sample.emotions[order])


def test_the_same_faces_in_a_second_file_are_not_loaded_twice(sample: Any) -> None:
    """An unlabelled copy of the training faces is not a test split."""
    sample.train_csv()
    sample.test_csv("copy.csv", range(30))
    dataset = load_dataset(sample.folder)
    assert len(dataset) == 42
    assert dataset.summary.left_alone[0].startswith("copy.csv")


def test_images_beside_a_csv_are_left_alone(sample: Any) -> None:
    sample.fer2013_csv()
    write_images(sample, "folder", "{split}/{emotion}", "JPEG")
    dataset = load_dataset(sample.folder)
    assert_same_faces(dataset, sample)
    assert dataset.summary.left_alone[0].startswith("set (image files)")


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ((28709, 3589, 3589), "FER2013"),
        ((28709, 0, 7178), "FER2013"),
        ((28709, 0, 0), "FER2013"),
        ((0, 0, 7178), "FER2013"),
        ((28708, 3589, 3589), "mine.csv"),
        ((28709, 3589, 0), "mine.csv"),
        ((0, 0, 28709), "mine.csv"),
        ((0, 0, 0), "mine.csv"),
    ],
)
def test_fer2013_is_named_so_by_its_official_sizes(tmp_path: Path, sizes: tuple[int, int, int], name: str) -> None:
    assert name_of(tmp_path / "mine.csv", np.repeat(np.arange(3, dtype=np.int8), sizes)) == name


def test_other_faces_are_named_after_their_file_or_folder(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_dataset(sample.train_csv("mine.csv")).name == "mine.csv"
    assert load_dataset(sample.folder).name == "set"
    monkeypatch.chdir(sample.folder)
    assert load_dataset(".").name == "set"


def test_the_real_fer2013(fer2013_path: Path) -> None:
    dataset = load_dataset(fer2013_path)
    assert dataset.name == "FER2013"
    assert np.bincount(dataset.splits).tolist() == [28709, 3589, 3589]
    train = dataset.split("train")
    assert np.bincount(train.emotions).tolist() == [3995, 436, 4097, 7215, 4830, 3171, 4965]
    assert set(dataset.split("test").emotions) == {-1}
    assert round(train.images.mean() / 255, 4) == 0.5077
    assert len(set(dataset.ids.tolist())) == 35887
    assert load_dataset(fer2013_path).summary.from_cache
