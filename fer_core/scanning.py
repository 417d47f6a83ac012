"""The faces of many files: photos, folders and videos of any length, a few pictures at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from fer_core.data.photos import Photo, read_photo
from fer_core.data.pictures import in_threads
from fer_core.errors import DataError
from fer_core.faces import Detector, crop_faces, find_faces, load_detector
from fer_core.preprocess import FACE_SIZE
from fer_core.video import VIDEOS, read_video

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Scan:
    """The faces of one photo or video frame, from left to right.

    file     as the user named it, or found below a folder
    share    of the files, how much has been read with this one, 0..1
    boxes    float32 (N, 4): left, top, right, bottom in pixels of the file
    scores   float32 (N,), how sure the detector is
    crops    uint8 (N, 48, 48)
    frame    its number from 0, and
    time     its seconds from the start; None for a photo
    notices  sentences on what was not used as it is
    error    why there is nothing, or no more; "" where all went well
    """

    file: Path
    share: float
    boxes: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    crops: np.ndarray = field(default_factory=lambda: np.empty((0, FACE_SIZE, FACE_SIZE), np.uint8))
    frame: int | None = None
    time: float | None = None
    notices: tuple[str, ...] = ()
    error: str = ""


def list_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and of folders all photos and videos below them, by name. Raises DataError for a path that does
    not exist and a folder that holds none."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist; name photos, videos or folders of them.")
        found = (
            sorted(file for file in path.rglob("*") if _is_ours(file.relative_to(path))) if path.is_dir() else [path]
        )
        if not found:
            raise DataError(f"{path} holds no photo or video; they end in {', '.join((*PHOTOS, *VIDEOS))}.")
        files += found
    return files


def _is_ours(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in (*PHOTOS, *VIDEOS) and not hidden


def scan_files(files: list[Path], every: int = 1, detector: Detector | None = None) -> Iterator[Scan]:
    """The faces of each photo and of every `every`-th frame of each video, in order. What cannot be read gives a Scan
    with an error, and the rest goes on. Pictures are looked at by several threads, a few at a time."""
    detector = detector or load_detector()
    return in_threads(lambda look: look(detector), _looks(files, every))


def _looks(files: list[Path], every: int) -> Iterator[Callable[[Detector], Scan]]:
    for i, file in enumerate(files):
        if file.suffix.lower() not in VIDEOS:
            yield partial(_look_at_photo, file, (i + 1) / len(files))
            continue
        share = i / len(files)
        try:
            for frame in read_video(file, every):
                share = (i + frame.share) / len(files)
                empty = Scan(file, share, frame=frame.number, time=frame.time)
                yield partial(_look, empty, Photo(frame.rgb))
        except DataError as error:
            yield partial(_failed, file, (i + 1) / len(files), str(error))


def _look_at_photo(file: Path, share: float, detector: Detector) -> Scan:
    try:
        return _look(Scan(file, share), read_photo(file, str(file)), detector)
    except DataError as error:
        return Scan(file, share, error=str(error))


def _look(empty: Scan, photo: Photo, detector: Detector) -> Scan:
    faces = find_faces(photo.rgb, detector)
    return Scan(
        empty.file,
        empty.share,
        np.array([face.box for face in faces], np.float32).reshape(-1, 4) / photo.scale,
        np.array([face.score for face in faces], np.float32),
        crop_faces(photo.rgb, faces),
        empty.frame,
        empty.time,
        photo.notices,
    )


def _failed(file: Path, share: float, error: str, _detector: Detector) -> Scan:
    return Scan(file, share, error=error)
