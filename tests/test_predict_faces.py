"""`python -m fer_core predict --faces` and what it stands on: files, folders and videos in, a line a face out."""

from __future__ import annotations

import csv
import io
import json
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fer_core import data
from fer_core.__main__ import main
from fer_core.commands.predict_faces import COLUMNS
from fer_core.data.photos import read_photo
from fer_core.errors import DataError
from fer_core.faces import Face, crop_faces, find_faces
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.scanning import list_files, scan_files
from fer_core.video import _turn, read_video

PORTRAITS = Path(data.__file__).parent / "demo" / "portraits"
EDGES = ("left", "top", "right", "bottom")


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, code: int | str | None, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as stop:
            main(["predict", "--faces", "--run", "demo", *map(str, arguments)])
        return Said(stop.value.code, *capsys.readouterr())

    return run


class Bright:
    """Finds one face, on the brightest pixel of a picture, and none in a dark picture."""

    def detect(self, rgb: np.ndarray) -> list[Face]:
        y, x = np.unravel_index(rgb.sum(axis=2).argmax(), rgb.shape[:2])
        box = (x - 2.0, y - 2.0, x + 3.0, y + 3.0)
        return [Face(box, 0.5, np.zeros((5, 2), np.float32))] if rgb.max() > 128 else []


def film(
    path: Path,
    count: int,
    size: tuple[int, int] = (64, 48),
    rate: int = 10,
    picture: Image.Image | None = None,
    aspect: Fraction = Fraction(1),
) -> Path:
    """A video whose frame i is gray 2 i, or a still picture; `aspect`: how many times as wide as high a pixel is."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 8_000_000
        stream.codec_context.sample_aspect_ratio = aspect
        for i in range(count):
            still = picture.resize(size) if picture else Image.new("RGB", size, (2 * i % 256,) * 3)
            container.mux(stream.encode(av.VideoFrame.from_image(still)))
        container.mux(stream.encode())
    return path


# -- videos --------------------------------------------------------------------------------------------------------


def test_every_frame_is_read_in_order_with_its_time(tmp_path: Path) -> None:
    frames = list(read_video(film(tmp_path / "a.mp4", 30)))
    assert [frame.number for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 10, atol=1e-6)
    np.testing.assert_allclose([frame.rgb.mean() for frame in frames], 2 * np.arange(30), atol=3)
    assert frames[0].rgb.shape == (48, 64, 3)
    assert frames[-1].share == pytest.approx(29 / 30)


def test_only_every_nth_frame_is_read_where_that_is_asked_for(tmp_path: Path) -> None:
    frames = list(read_video(film(tmp_path / "a.mp4", 30), every=7))
    assert [frame.number for frame in frames] == [0, 7, 14, 21, 28]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.7, 1.4, 2.1, 2.8], atol=1e-6)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_slow_or_silent_end_is_no_damage(tmp_path: Path, name: str) -> None:
    """The last picture of a slide show is shown for long; sound may go on after the pictures."""
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        slides = container.add_stream("mpeg4", rate=Fraction(1, 5))
        slides.width, slides.height, slides.pix_fmt = 64, 48, "yuv420p"
        for i in range(3):
            container.mux(slides.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 48), (60 * i,) * 3))))
        container.mux(slides.encode())
    assert [frame.time for frame in read_video(path)] == [0, 5, 10]
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mpeg4", rate=10), container.add_stream("aac", rate=16_000, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(20):
            container.mux(video.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 48)))))
        container.mux(video.encode())
        for _ in range(6):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
            silence.sample_rate = 16_000
            container.mux(sound.encode(silence))
        container.mux(sound.encode())
    assert len(list(read_video(path))) == 20


IN_QUARTERS = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)]
MIRRORED = [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Writes a, b, c, d of the matrix in the track's header (ISO/IEC 14496-12, 8.3.2), its entries times 65536."""
    written = bytearray(path.read_bytes())
    at = written.index(b"tkhd") + 4 + 40
    a, b, c, d = (65536 * each for each in matrix)
    written[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    path.write_bytes(written)


@pytest.mark.parametrize("matrix", IN_QUARTERS + MIRRORED)
def test_a_video_is_shown_as_its_header_says(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    """A phone held upright stores rows as columns, some cameras and tools a mirror image: what is stored at (x, y) is
    shown at (a x + c y, b x + d y), but for a shift."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24], stored[24:, :24] = (255, 255, 255), (0, 0, 255)  # like none of its turns and mirror images
    set_matrix(film(tmp_path / "a.mp4", 2, picture=Image.fromarray(stored)), matrix)
    a, b, c, d = matrix
    y, x = np.mgrid[:48, :64]
    row, column = b * x + d * y, a * x + c * y
    row, column = row - row.min(), column - column.min()
    shown = np.zeros((row.max() + 1, column.max() + 1, 3), np.uint8)
    shown[row, column] = stored
    frame = next(read_video(tmp_path / "a.mp4")).rgb
    assert frame.shape == shown.shape
    assert frame.flags.c_contiguous
    assert np.abs(frame.astype(int) - shown).mean() < 12


@pytest.mark.parametrize("matrix", IN_QUARTERS)
def test_a_frame_with_side_data_unknown_to_pyav_is_turned_by_its_angle(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    path = film(tmp_path / "a.mp4", 2)
    set_matrix(path, matrix)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))

        class Spatial:
            """The frame with what every frame of a spatial video has: side data of another kind."""

            rotation = frame.rotation

            @property
            def side_data(self) -> object:
                raise ValueError("32 is not a valid Type")

        assert _turn(Spatial()) == pytest.approx(matrix, abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(3, 2), 96), (Fraction(1, 2), 32), (Fraction(1), 64), (Fraction(100), 64)]
)
def test_the_pixels_of_a_video_are_made_square(tmp_path: Path, aspect: Fraction, width: int) -> None:
    """Anamorphic video; what no camera writes is not believed."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:, 16:] = 255
    path = film(tmp_path / "a.mp4", 2, picture=Image.fromarray(stored), aspect=aspect)
    frame = next(read_video(path)).rgb
    assert frame.shape == (48, width, 3)
    assert (frame < 128).all(axis=2).mean() == pytest.approx(1 / 4, abs=0.02)
    set_matrix(path, (0, 1, -1, 0))
    turned = next(read_video(path)).rgb  # pixels are stretched as they are stored, and turned after
    np.testing.assert_array_equal(turned, np.rot90(frame, -1))


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path) -> None:
    """Forty times as many frames, and no more than a few of them at once (each takes 0.2 MB)."""

    def most(count: int) -> int:
        path = film(tmp_path / f"{count}.mp4", count, size=(320, 240))
        tracemalloc.start()
        assert sum(1 for _ in scan_files([path], detector=Bright())) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(2)  # what is imported and cached the first time
    assert most(600) < most(15) + 4_000_000  # the frames take 138 MB


def test_a_video_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mkv", 100).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    frames: list[int] = []
    with pytest.raises(DataError, match=r"cut\.mkv breaks off after .*; all before it was read\.$"):
        frames += (frame.number for frame in read_video(tmp_path / "cut.mkv"))
    assert 20 < len(frames) < 80
    assert frames == list(range(len(frames)))


@pytest.mark.parametrize("content", [b"", b"no video", b"\x00" * 4096])
def test_what_is_no_video_gives_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mp4 is no video that can be read \(.*\); save it as MP4\.$"):
        list(read_video(tmp_path / "a.mp4"))


# -- files ---------------------------------------------------------------------------------------------------------


def test_folders_are_searched_for_photos_and_videos(tmp_path: Path) -> None:
    names = ["b.jpg", "a/c.PNG", "a/d.mp4", "notes.txt", ".hidden.jpg", ".cache/e.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_files([tmp_path, tmp_path / "notes.txt"])
    assert found == [tmp_path / name for name in ("a/c.PNG", "a/d.mp4", "b.jpg", "notes.txt")]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg does not exist"):
        list_files([tmp_path / "none.jpg"])
    with pytest.raises(DataError, match="holds no photo or video"):
        list_files([tmp_path])


def test_scans_come_in_order_and_go_on_after_an_error(tmp_path: Path) -> None:
    for i in range(12):
        picture = np.zeros((20, 20, 3), np.uint8)
        picture[3, i] = 255
        Image.fromarray(picture).save(tmp_path / f"{i:02d}.png")
    (tmp_path / "05.png").write_text("text")
    scans = list(scan_files(sorted(tmp_path.glob("*.png")), detector=Bright()))
    assert [scan.file.name for scan in scans] == [f"{i:02d}.png" for i in range(12)]
    assert [float(scan.boxes[0, 0]) for scan in scans if not scan.error] == [i - 2.0 for i in range(12) if i != 5]
    assert scans[5].error.endswith("05.png is no picture that can be read; choose a JPEG, PNG, WebP, GIF, BMP or TIFF.")
    assert [scan.share for scan in scans] == pytest.approx([(i + 1) / 12 for i in range(12)])


# -- the command ---------------------------------------------------------------------------------------------------


def test_a_line_a_face_as_another_way_gives_it(call: Callable[..., Said]) -> None:
    said = call(PORTRAITS / "group.jpg", PORTRAITS / "happy.jpg")
    assert said.code in (0, None)
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert list(rows[0]) == list(COLUMNS)
    assert [(Path(row["file"]).name, row["face"]) for row in rows] == [
        *(("group.jpg", str(i)) for i in range(1, 6)),
        ("happy.jpg", "1"),
    ]
    rgb = read_photo(PORTRAITS / "group.jpg").rgb
    faces = find_faces(rgb)
    expected = Predictor.load("demo").predict(crop_faces(rgb, faces)).believed
    for row, face, shares in zip(rows, faces, expected, strict=False):
        assert [float(row[name]) for name in EMOTIONS] == pytest.approx(shares.tolist(), abs=2e-4)
        assert row["emotion"] == EMOTIONS[shares.argmax()]
        assert [float(row[edge]) for edge in EDGES] == pytest.approx(face.box, abs=0.06)
        assert float(row["detector_score"]) == pytest.approx(face.score, abs=1e-4)
        assert row["frame"] == row["time"] == ""
    assert "6 faces in 2 of 2 files." in said.err


def test_a_cascade_reads_faces_too(call: Callable[..., Said]) -> None:
    """Sure above 0 the second network is never asked, sure above 1 about every face."""
    photo = PORTRAITS / "group.jpg"
    alone = [call("--json", photo, *more).out for more in ([], ["--run", "student"])]
    assert alone[0] != alone[1]
    for sure, expected in ((0, alone[0]), (1, alone[1])):
        said = call("--json", photo, "--cascade", "student", "--sure", sure)
        for line, other in zip(said.out.splitlines(), expected.splitlines(), strict=True):
            assert json.loads(line) == pytest.approx(json.loads(other), abs=2e-4)


def test_the_emotions_of_the_portraits_are_read(call: Callable[..., Said]) -> None:
    """Rendered as the demo faces are, from which the demo network learned."""
    rows = [json.loads(line) for line in call("--json", PORTRAITS).out.splitlines()]
    true = json.loads((PORTRAITS / "portraits.json").read_text())
    hits = [row["emotion"] == true[Path(row["file"]).name][row["face"] - 1]["emotion"] for row in rows]
    assert len(hits) == 10
    assert sum(hits) >= 9


def test_a_videos_faces_have_their_frame_and_time(call: Callable[..., Said], tmp_path: Path) -> None:
    two = Image.open(PORTRAITS / "two.jpg")
    film(tmp_path / "two.mp4", 6, size=two.size, rate=4, picture=two)
    said = call("--json", "--every", 2, tmp_path / "two.mp4")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [(row["frame"], row["time"], row["face"]) for row in rows] == [
        (frame, frame / 4, face) for frame in (0, 2, 4) for face in (1, 2)
    ]
    assert list(rows[0]) == list(COLUMNS)
    assert "6 faces in 1 of 1 files." in said.err


def test_bad_files_become_lines_on_stderr_and_the_rest_goes_on(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("Dear diary, ...")
    (tmp_path / "b.mp4").write_text("no video")
    shutil.copy(PORTRAITS / "happy.jpg", tmp_path / "c.jpg")
    Image.new("RGB", (200, 200), "gray").save(tmp_path / "d.png")
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green")]
    frames[0].save(tmp_path / "e.gif", save_all=True, append_images=frames[1:])
    said = call("--json", tmp_path)
    assert said.code == 1
    assert [Path(json.loads(line)["file"]).name for line in said.out.splitlines()] == ["c.jpg"]
    lines = [line.replace(f"{tmp_path}/", "") for line in said.err.splitlines()]
    assert "Error: a.jpg is no picture that can be read; choose a JPEG, PNG, WebP, GIF, BMP or TIFF." in lines
    assert any(line.startswith("Error: b.mp4 is no video that can be read (") for line in lines)
    assert "Notice: No face was found in d.png." in lines
    assert "Notice: e.gif holds 2 pictures; this is the first." in lines
    assert lines[-1] == "1 faces in 3 of 5 files."


def test_boxes_are_in_pixels_of_the_file(call: Callable[..., Said], tmp_path: Path) -> None:
    """A photo that is shrunk as it is read: its face stands where it stands in the file."""
    portrait = Image.open(PORTRAITS / "happy.jpg")
    portrait.resize((portrait.width * 12, portrait.height * 12)).save(tmp_path / "large.jpg", quality=50)
    large, usual = (json.loads(call("--json", path).out) for path in (tmp_path / "large.jpg", PORTRAITS / "happy.jpg"))
    sides = usual["bottom"] - usual["top"]
    assert [large[edge] / 12 for edge in EDGES] == pytest.approx([usual[edge] for edge in EDGES], abs=0.1 * sides)


def test_a_wrong_name_stops_before_anything_is_printed(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call(PORTRAITS / "happy.jpg", tmp_path / "none.jpg")
    assert str(said.code).startswith("Error: ")
    assert "none.jpg does not exist" in str(said.code)
    assert said.out == ""


def test_faces_that_are_cropped_already_are_read_as_before(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Image.fromarray(data.demo_faces().images[0]).save(tmp_path / "face.png")
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "face.png"), "--run", "demo", "--json"])
    assert [row["image"] for row in json.loads(capsys.readouterr().out)["faces"]] == [str(tmp_path / "face.png")]
