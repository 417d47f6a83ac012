"""The map component: what it is given, and a selection of faces as a text in the URL."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from dashboard.scatter import _quantised, packed, unpacked


@pytest.mark.parametrize("count", [1, 7, 300, 28_709])
@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
def test_a_selection_goes_into_a_text_and_back(count: int, share: float) -> None:
    rng = np.random.default_rng(count)
    rows = np.sort(rng.choice(count, max(1, int(share * count)), replace=False))
    text = packed(rows)
    np.testing.assert_array_equal(unpacked(text, count), rows)
    assert len(text) < 40 + (6 if share < 0.1 else 2) * len(rows)
    assert text.replace("-", "").replace("_", "").isalnum()


def packed_bytes(raw: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(raw)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "%%%",
        "ü",
        packed_bytes(b""),
        packed_bytes(b"\x01\x00\x00"),  # no whole number
        packed_bytes(np.array([3, 0], "<u4").tobytes()),  # the same row twice
        packed(np.array([2, 10])),  # there are ten: 0..9
        packed_bytes(b"\x00" * 10_000_000),
    ],
)
def test_a_text_that_means_no_rows(text: str) -> None:
    assert unpacked(text, 10) is None


def test_maps_share_one_scale() -> None:
    maps = [np.array([[0, 0], [10, 5]], np.float32), np.array([[-10, 0], [0, 0]], np.float32)]
    points, span = _quantised(maps)
    assert span == pytest.approx((20.2, 5.2))  # half a hundredth of the larger side around
    for given, made in zip(maps, points, strict=True):
        assert made.dtype == np.uint16
        back = made / 65535 * span + [-10.1, -0.1]
        np.testing.assert_allclose(back, given, atol=20.2 / 65535)


def test_a_map_of_one_point() -> None:
    points, span = _quantised([np.zeros((3, 2), np.float32)])
    assert min(span) > 0
    assert len(np.unique(points[0])) == 1
