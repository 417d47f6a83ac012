"""Video files, frame by frame: memory does not grow with their length."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

from fer_core.errors import DataError

MOST_STRETCH = 4.0  # of a pixel's sides; what claims more is damaged, and would take memory without end
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp", ".ts")


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    number  from 0, in the order in which they are shown
    time    seconds since the first
    share   about how much of the video has been read with it, 0..1; 0 where its length is unknown
    rgb     uint8 (H, W, 3), upright, not mirrored, its pixels square
    """

    number: int
    time: float
    share: float
    rgb: np.ndarray


def read_video(path: Path, every: int = 1) -> Iterator[Frame]:
    """Every `every`-th frame of a video file, turned, mirrored and stretched as the file says that it is to be shown.

    Raises DataError for a file that is no video, and after its last good frame for one that breaks off.
    """
    import av  # a second, and only videos need it

    number = -1
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path} holds no pictures; name a video.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            length, stretch = _length(container, stream), _stretch(stream)
            first = 0.0
            for number, frame in enumerate(container.decode(stream)):
                stamp = frame.time if frame.time is not None else number / float(stream.average_rate or 25)
                first = first if number else stamp
                if number % every == 0:
                    rgb = frame.to_ndarray(format="rgb24", width=max(1, round(frame.width * stretch)))
                    share = min(1.0, (stamp - first) / length) if length else 0.0
                    yield Frame(number, stamp - first, share, np.ascontiguousarray(_upright(rgb, _turn(frame))))
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        if number < 0:
            raise DataError(f"{path} is no video that can be read ({reason}); save it as MP4.") from error
        raise DataError(f"{path} breaks off after frame {number} ({reason}); all before it was read.") from error
    if number < 0:
        raise DataError(f"{path} holds no pictures; name a video.")
    shown = float(
        (frame.duration or 0) * (frame.time_base or 0)
    )  # how long the last one is; else as long as the others
    end = stamp - first + (shown or (stamp - first) / max(number, 1))
    if length - end > max(2.0, 0.1 * length):
        raise DataError(f"{path} breaks off after {end:.0f} of {length:.0f} seconds; all before it was read.")


def _length(container: InputContainer, stream: VideoStream) -> float:
    """Seconds of pictures that a video has by its own account; 0 where it does not tell: a container's length is also
    that of its sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1
    return container.duration / 1_000_000 if container.duration and alone else 0.0


def _stretch(stream: VideoStream) -> float:
    """How many times as wide as high a stored pixel is shown; other than 1 in anamorphic video (discs, tapes)."""
    stretch = float(stream.sample_aspect_ratio or 1)
    return stretch if 1 / MOST_STRETCH <= stretch <= MOST_STRETCH else 1.0


def _turn(frame: VideoFrame) -> tuple[float, float, float, float]:
    """a, b, c, d: the pixel stored at (x, y) is shown at (a x + c y, b x + d y), but for a shift."""
    try:
        known: Any = frame.side_data  # its type hints name no display matrix
        a, b, _, c, d = struct.unpack_from("=5i", known["DISPLAYMATRIX"])  # rows of 3, in 16.16 fixed point
    except KeyError:
        return 1, 0, 0, 1
    except ValueError:  # side data of a kind that PyAV does not know, as of spatial video: it tells the angle yet
        angle = math.radians(frame.rotation)
        return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    return a, b, c, d


def _upright(rgb: np.ndarray, turn: tuple[float, float, float, float]) -> np.ndarray:
    """Turns a picture by the nearest whole quarters, and mirrors it."""
    a, b, c, d = turn
    if abs(b) > abs(a):
        rgb, a, d = rgb.swapaxes(0, 1), c, b
    return rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
