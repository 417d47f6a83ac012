"""Photos as people have them -> upright RGB pixels, within bounded memory."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_core.data.pictures import BROKEN, first_words
from fer_core.errors import DataError
from fer_core.preprocess import eight_bits

LONGEST = 4096  # pixels of the longer side: a larger photo is shrunk to it
MOST_PIXELS = 50_000_000  # of a file that must be decoded whole: 200 MB; a baseline JPEG may have Pillow's 179 million
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # Pillow would run programs of others for EPS
# Pillow warns of half of what it refuses; here sizes are checked. (Once for all: filters are shared by all threads.)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Photo:
    """A photo to look for faces in.

    rgb      uint8 (H, W, 3), upright
    scale    pixels of `rgb` for one pixel of the file; below 1 where it was shrunk
    notices  sentences on what was not used as it is
    """

    rgb: np.ndarray
    scale: float = 1.0
    notices: tuple[str, ...] = ()


def read_photo(picture: Path | str | bytes, name: str = "") -> Photo:
    """A JPEG, PNG, WebP, GIF, BMP or TIFF, a file or its bytes: turned as its EXIF orientation says, on white where it
    is transparent, and of an animation the first frame.

    name: what messages call it; the file's name for "". Raises DataError for what is no picture, damaged or too large.
    """
    name = name or ("the picture" if isinstance(picture, bytes) else Path(picture).name)
    try:
        encoded = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            return _photo(image, name)
    except UnidentifiedImageError:
        raise DataError(f"{name} is no picture that can be read; choose a JPEG, PNG, WebP, GIF, BMP or TIFF.") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} has too many pixels to be read safely; make it smaller.") from None
    except BROKEN as error:
        raise DataError(f"{name} cannot be read ({first_words(error)}); save it anew, or choose another.") from error


def _photo(image: Image.Image, name: str) -> Photo:
    width, height = image.size
    notices = []
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # in which cameras keep a second view
        notices.append(f"{name} holds {image.n_frames:,} pictures; this is the first.")  # type: ignore[attr-defined]
    image.draft("RGB", (LONGEST, LONGEST))  # a JPEG is shrunk as it is decoded
    whole = image.size == (width, height) or image.info.get("progressive")
    if whole and width * height > MOST_PIXELS:
        most = f"{MOST_PIXELS // 1_000_000} million"
        raise DataError(f"{name} has {width:,} x {height:,} pixels, and at most {most} can be read; make it smaller.")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    image = ImageOps.exif_transpose(image)
    rgb = np.array(_on_white(eight_bits(image)))
    scale = max(rgb.shape[:2]) / max(width, height)
    if scale < 1:
        notices.append(f"{name} was shrunk from {width:,} x {height:,} to {rgb.shape[1]:,} x {rgb.shape[0]:,} pixels.")
    return Photo(rgb, scale, tuple(notices))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
