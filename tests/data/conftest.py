"""Synthetic faces, and writers for the forms in which people have FER2013."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

USAGES = ("Training", "PublicTest", "PrivateTest")


@dataclass
class Sample:
    """A few faces of noise with every emotion in every split, and writers of them."""

    folder: Path
    images: np.ndarray
    emotions: np.ndarray
    splits: np.ndarray

    def pixels(self, row: int) -> str:
        return " ".join(map(str, self.images[row].ravel().tolist()))

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def train_csv(self, name: str = "train.csv", rows: Sequence[int] | None = None) -> Path:
        lines = [f"{self.emotions[i]},{self.pixels(i)}" for i in (range(len(self.images)) if rows is None else rows)]
        return self.write(name, "\n".join(["emotion,pixels", *lines, ""]))

    def test_csv(self, name: str = "test.csv", rows: Sequence[int] | None = None) -> Path:
        lines = [self.pixels(i) for i in (range(len(self.images)) if rows is None else rows)]
        return self.write(name, "\n".join(["pixels", *lines, ""]))

    def icml_csv(self, name: str = "icml_face_data.csv") -> Path:
        lines = [f"{self.emotions[i]},{USAGES[self.splits[i]]},{self.pixels(i)}" for i in range(len(self.images))]
        return self.write(name, "\n".join(["emotion, Usage, pixels", *lines, ""]))

    def fer2013_csv(self, name: str = "fer2013.csv") -> Path:
        lines = [f"{self.emotions[i]},{self.pixels(i)},{USAGES[self.splits[i]]}" for i in range(len(self.images))]
        return self.write(name, "\n".join(["emotion,pixels,Usage", *lines, ""]))

    def parquet(
        self,
        columns: dict[str, Any] | None = None,
        name: str = "faces.parquet",
        names: dict[str, list[str]] | None = None,
        encoded: Sequence[bytes | None] | None = None,
    ) -> Path:
        """`columns` beside the pictures, by default emotion and usage; `names`: class names for the metadata."""
        usage = [USAGES[split] for split in self.splits]
        columns = {"emotion": pa.array(self.emotions, pa.int8()), "usage": usage} if columns is None else columns
        pictures = [{"bytes": png, "path": f"{i}.png"} for i, png in enumerate(encoded or self.pngs())]
        table = pa.table(({} if "img_bytes" in columns else {"image": pictures}) | columns)
        if names is not None:
            features = {column: {"names": classes, "_type": "ClassLabel"} for column, classes in names.items()}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        return path

    def pngs(self) -> list[bytes]:
        return [encode(image) for image in self.images]


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """42 faces: two of each emotion in each split, in mixed order."""
    rng = np.random.default_rng(7)
    order = rng.permutation(42)
    folder = tmp_path / "set"
    folder.mkdir()
    return Sample(
        folder,
        rng.integers(0, 256, (42, 48, 48)).astype(np.uint8),
        (order % 7).astype(np.int8),
        (order % 3).astype(np.int8),
    )


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Encodes an array as a picture file."""
    return encode
