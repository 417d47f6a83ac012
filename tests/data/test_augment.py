"""Augmentation of a batch: every move against an oracle, every face by its own draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core.data.augment import Augment, Mix


@pytest.fixture
def batch() -> Tensor:
    """64 times the same face of smooth noise, so that what differs afterwards was moved differently."""
    coarse = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, (48, 48), mode="bicubic").expand(64, 1, 48, 48).contiguous()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_options_the_faces_are_left_alone(batch: Tensor) -> None:
    assert Augment()(batch, seeded()) is batch


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Every face gets these four numbers instead of random ones: turn, shift right, shift down, mirror."""

    def fix(turn: float = 0.5, right: float = 0.5, down: float = 0.5, mirror: float = 0.9) -> None:
        monkeypatch.setattr(torch, "rand", lambda n, *_, **__: torch.tensor([[turn, right, down, mirror]] * n))

    return fix


def test_the_middle_of_every_range_is_the_identity(batch: Tensor, draw: Any) -> None:
    draw()
    moved = Augment(rotation=30, crop=6, flip=True)(batch)
    torch.testing.assert_close(moved, batch, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("right", "down"), [(4, 0), (0, -3), (-4, 2)])
def test_a_shift_by_whole_pixels_is_a_crop_of_the_padded_face(batch: Tensor, draw: Any, right: int, down: int) -> None:
    draw(right=0.5 + right / 8, down=0.5 + down / 8)  # 0..1 is -4..4 pixels
    padded = F.pad(batch, (4, 4, 4, 4), mode="replicate")
    cropped = padded[:, :, 4 + down : 52 + down, 4 + right : 52 + right]
    assert torch.equal(Augment(crop=4)(batch), cropped)
    # By way of interpolation, where a face may be turned too (here by 0 degrees).
    torch.testing.assert_close(Augment(crop=4, rotation=10)(batch), cropped, atol=1e-4, rtol=0)


def test_a_mirrored_face(batch: Tensor, draw: Any) -> None:
    draw(mirror=0.1)
    assert torch.equal(Augment(flip=True)(batch), batch.flip(-1))
    torch.testing.assert_close(Augment(flip=True, rotation=10)(batch), batch.flip(-1), atol=1e-4, rtol=0)


def test_without_turns_and_zooms_faces_move_by_whole_pixels() -> None:
    """All 9 x 9 shifts of up to 4 pixels, each as often as the others; a fraction of a pixel is none."""
    ramp = torch.arange(48.0).expand(1, 1, 48, 48)
    plane = (100 * ramp.mT + ramp).expand(20_000, 1, 48, 48)  # row 24, column 24 tells from where it comes
    for crop in (4.0, 4.9):
        middle = Augment(crop=crop)(plane, seeded())[:, 0, 24, 24]
        shifts, counts = middle.unique(return_counts=True)
        expected = [100 * (24 + down) + 24 + right for down in range(-4, 5) for right in range(-4, 5)]
        assert shifts.tolist() == expected
        assert (counts - 20_000 / 81).abs().max() < 5 * (20_000 / 81) ** 0.5


def test_a_quarter_turn(batch: Tensor, draw: Any) -> None:
    """The sampling grid turns clockwise (y points down), so the face turns the other way, as `rot90` does."""
    draw(turn=1.0)
    turned = Augment(rotation=90)(batch)
    torch.testing.assert_close(turned, torch.rot90(batch, 1, (2, 3)), atol=1e-4, rtol=0)


def test_each_face_has_its_own_draw(batch: Tensor) -> None:
    moved = Augment(rotation=10, crop=4)(batch, seeded())
    assert len({face.numpy().tobytes() for face in moved}) == 64
    mirrored = Augment(flip=True)(batch, seeded())
    is_mirrored = (mirrored - batch.flip(-1)).abs().amax(dim=(1, 2, 3)) < 1e-4
    is_same = (mirrored - batch).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert (is_mirrored ^ is_same).all()
    assert 16 < is_mirrored.sum() < 48  # half of 64, within 4 standard deviations


def test_shifts_and_turns_stay_in_their_range() -> None:
    theta = Augment(rotation=10, crop=4, flip=True)._matrices(20_000, 48, seeded())
    shift = theta[:, :, 2] * 48 / 2
    assert shift.abs().max() <= 4
    assert shift.abs().max() > 3.99
    assert shift.mean().abs() < 0.1
    angle = torch.rad2deg(torch.asin(theta[:, 0, 1]))
    assert angle.abs().max() <= 10.001
    assert angle.std() == pytest.approx(20 / 12**0.5, rel=0.02)  # uniform over 20 degrees


def test_the_same_seed_gives_the_same_faces(batch: Tensor) -> None:
    augment = Augment(rotation=10, crop=4, flip=True)
    assert torch.equal(augment(batch, seeded()), augment(batch, seeded()))
    assert not torch.equal(augment(batch, seeded()), augment(batch, seeded(1)))


def test_options_leave_one_anothers_draws_alone(batch: Tensor) -> None:
    """With or without mirroring, the same seed shifts by the same amount: runs can be compared option by option."""
    alike = (Augment(crop=4, flip=True)(batch, seeded()) == Augment(crop=4)(batch, seeded())).all(dim=(1, 2, 3))
    assert 16 < alike.sum() < 48  # those that are not mirrored
    with_flip = Augment(crop=4, flip=True)._matrices(64, 48, seeded())
    without = Augment(crop=4)._matrices(64, 48, seeded())
    assert torch.equal(with_flip[:, :, 2], without[:, :, 2])


def test_shape_type_and_input_are_kept(batch: Tensor) -> None:
    before = batch.clone()
    moved = Augment(rotation=10)(batch, seeded())
    assert (moved.shape, moved.dtype) == (batch.shape, torch.float32)
    assert torch.equal(batch, before)
    assert moved.isfinite().all()


def test_zoom_by_two_shows_the_inner_half(batch: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    fours, ones = torch.tensor([[0.5, 0.5, 0.5, 0.9]] * 64), torch.zeros(64)  # the smallest part that may be seen
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: fours if shape == (64, 4) else ones)
    zoomed = Augment(zoom=1.0)(batch)
    inner = batch[:, :, 12:36, 12:36]
    shrunk = F.avg_pool2d(zoomed, 2)
    torch.testing.assert_close(shrunk, inner, atol=0.15, rtol=0)


def test_sharp_faces_are_neither_turned_nor_zoomed(batch: Tensor) -> None:
    """Of 4,000 faces the share asked for is made of their own pixels alone, moved and mirrored; all others are not."""
    many = batch[:1].expand(4000, 1, 48, 48)
    augment = {"rotation": 30.0, "zoom": 0.5, "crop": 3.0, "flip": True}
    moved = Augment(sharp=0.25, **augment)(many, seeded())
    is_sharp = torch.isin(moved, batch[0]).all(dim=(1, 2, 3))
    assert 0.22 < is_sharp.float().mean() < 0.28
    assert torch.isin(moved[~is_sharp], batch[0]).float().mean() < 0.05
    assert len(moved[is_sharp].unique(dim=0)) == 7 * 7 * 2  # every shift, mirrored or not
    assert torch.equal(Augment(sharp=0.0, **augment)(many, seeded()), Augment(**augment)(many, seeded()))


def test_light_moves_mean_and_contrast_and_nothing_else(batch: Tensor) -> None:
    lit = Augment(brightness=0.5, contrast=0.3)(batch, seeded())
    means, deviations = lit.mean((1, 2, 3)), lit.std((1, 2, 3))
    shift, factor = means - batch.mean(), deviations / batch[0].std()
    assert shift.abs().max() <= 0.5 + 1e-4
    assert 0.7 - 1e-4 <= factor.min() < 0.75 < 1.25 < factor.max() <= 1.3 + 1e-4
    back = (lit - means.view(-1, 1, 1, 1)) / factor.view(-1, 1, 1, 1) + batch.mean()
    torch.testing.assert_close(back, batch, atol=1e-4, rtol=1e-4)


def test_erased_rectangles_are_of_the_sizes_said(batch: Tensor) -> None:
    ones = torch.ones_like(batch)
    erased = Augment(erase=0.5)(ones, seeded())
    holes = [(face[0] == 0).nonzero() for face in erased]
    hit = [hole for hole in holes if len(hole)]
    assert 20 <= len(hit) <= 44
    for hole in hit:
        height, width = (hole.max(0).values - hole.min(0).values + 1).tolist()
        assert len(hole) == height * width  # a whole rectangle
        assert max(height, width) <= 0.4 * 48 + 1
    assert torch.equal(Augment(erase=0.0)(ones, seeded()), ones)


def test_mixup_is_a_weighted_mean_of_faces_and_of_targets() -> None:
    faces, targets = torch.rand(7, 1, 48, 48), torch.eye(7)
    mixed, soft = Mix(mixup=1.0)(faces, targets, seeded(3))
    torch.testing.assert_close(soft.sum(1), torch.ones(7))
    torch.testing.assert_close(mixed, torch.einsum("ij,jchw->ichw", soft, faces))  # the target says what was mixed
    assert not torch.equal(mixed, faces)


def test_cutmix_puts_a_square_in_and_says_its_share() -> None:
    faces, targets = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 1, 48, 48).contiguous(), torch.eye(7)
    for seed in range(5):
        mixed, soft = Mix(cutmix=1.0)(faces, targets, seeded(seed))
        for emotion, face in enumerate(mixed):
            for other in range(7):
                assert soft[emotion, other].item() == pytest.approx((face == other).float().mean().item(), abs=1e-5)


def test_mixing_happens_to_the_share_of_batches_asked_for() -> None:
    faces, targets, generator = torch.rand(7, 1, 48, 48), torch.eye(7), seeded(1)
    kinds = [Mix(mixup=0.3, cutmix=0.2)(faces, targets, generator)[0] is faces for _ in range(400)]
    assert 150 < sum(kinds) < 250
    assert Mix()(faces, targets, generator)[0] is faces


def test_a_batch_may_have_only_sharp_faces(batch: Tensor) -> None:
    """As a last batch of few faces has, sooner or later."""
    few = batch[:2]
    assert Augment(rotation=12, zoom=0.15, sharp=1.0)(few, seeded()).shape == few.shape
    assert torch.equal(Augment(rotation=12, sharp=1.0)(few, seeded()), few)
