"""The trust checks: each against another implementation or a hand computation, and each able to fail a method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from fer_core.explain import checks
from fer_core.explain.attribution import METHODS, Attribution, Method, attribute, make_question
from fer_core.explain.checks import (
    CELL,
    RANDOM_ORDERS,
    STEPS,
    Curve,
    Randomisation,
    cell_means,
    deletion_curve,
    infidelity,
    insertion_curve,
    random_squares,
    randomise,
    rank_correlation,
    sensitivity_of,
    shuffle,
    ssim,
)
from fer_core.explain.trust import Evidence, Trust, examine
from fer_core.models import create_model
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint, Run

MEAN, STD = 0.5, 0.25


class Linear(nn.Module):
    """Fear is a weighted sum of the pixels of a square, Happy is 0, the others never come up."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Linear(48 * 48, 1, bias=False)
        field = torch.zeros(48, 48)
        field[8:20, 16:36] = 0.05
        self.field.weight.data = field.view(1, -1)

    def forward(self, x: Tensor) -> Tensor:
        fear = self.field(x.flatten(1))
        logits = torch.full((len(x), 7), -100.0)
        logits[:, 3] = 0
        return torch.cat([logits[:, :2], fear, logits[:, 3:]], dim=1)


@pytest.fixture
def linear() -> Checkpoint:
    return Checkpoint("run", 1, Linear().eval(), Preprocess(MEAN, STD), {})


@pytest.fixture
def net() -> Checkpoint:
    torch.manual_seed(2)
    model = create_model("EmotionResNet", {"widths": [4, 8]}).eval()
    return Checkpoint("run", 1, model, Preprocess(MEAN, STD), {})


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    rng = np.random.default_rng(4)
    smooth = np.kron(rng.uniform(140, 250, (6, 6)), np.ones((8, 8)))
    return (smooth + rng.normal(0, 4, (48, 48))).clip(0, 255).astype(np.uint8)


FEAR = np.eye(7, dtype=np.float32)[[2]]


# -- measures --------------------------------------------------------------------------------------


def test_rank_correlation_is_spearmans_with_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (48, 48)).astype(float), rng.integers(0, 9, (48, 48)) + rng.random((48, 48)) // 0.5
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-9)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, np.ones((48, 48))) == 0
    assert rank_correlation(a, np.full((48, 48), np.nan)) == 0


def test_ssim_is_torchmetrics_with_square_windows() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((48, 48)), rng.random((48, 48))
    b += 2 * a
    one, other = (torch.from_numpy(x / x.max())[None, None] for x in (a, b))
    _, full = structural_similarity_index_measure(
        one, other, gaussian_kernel=False, kernel_size=7, data_range=1.0, return_full_image=True
    )
    expected = full[0, 0, 3:-3, 3:-3].mean()  # where the window lies within the map
    assert ssim(a, b) == pytest.approx(float(expected), abs=1e-9)
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, np.zeros((48, 48))) == 0


def test_a_curves_area() -> None:
    curve = Curve(np.array([0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0]), np.array([[1.0, 1, 1], [0, 0, 1]]))
    assert curve.area == pytest.approx(0.5)
    np.testing.assert_allclose(curve.random_areas, [1, 0.25])


def test_cell_means() -> None:
    values = np.arange(48 * 48, dtype=float).reshape(48, 48)
    means = cell_means(values)
    assert len(means) == (48 // CELL) ** 2
    assert means[13] == values[4:8, 4:8].mean()


def test_random_squares_lie_on_the_face() -> None:
    squares = random_squares(200, np.random.default_rng(0))
    sides = np.sqrt(squares.sum(axis=(1, 2)))
    assert set(sides) <= set(range(8, 21))
    assert len(set(sides)) > 5
    assert (squares.max(axis=2).sum(axis=1) == sides).all()
    assert squares.mean(axis=0)[12:36, 12:36].min() > 0.02


# -- deletion and insertion ------------------------------------------------------------------------


def test_the_right_order_deletes_and_inserts_faster_than_chance(linear: Checkpoint, face: np.ndarray) -> None:
    ask = make_question(linear, face[None], FEAR)
    order = linear.model.field.weight.detach().numpy().reshape(48, 48) * (face - 127.5)
    deletion, insertion = deletion_curve(ask, order), insertion_curve(ask, order)
    assert deletion.random.shape == (RANDOM_ORDERS, STEPS + 1)
    assert deletion.area < deletion.random_areas.min()
    assert insertion.area >= insertion.random_areas.max() - 0.02  # blurring takes little from a score that is a mean
    reverse = deletion_curve(ask, -order)
    assert reverse.area > reverse.random_areas.max()


def test_curves_begin_and_end_where_they_must(net: Checkpoint, face: np.ndarray) -> None:
    result = attribute(net, face[None], "saliency", "Fear")
    ask = make_question(net, face[None], FEAR)
    deletion, insertion = deletion_curve(ask, result.maps[0]), insertion_curve(ask, result.maps[0])
    whole = result.probabilities[0, 2]
    with torch.no_grad():
        gray = float(net.model(torch.zeros(1, 1, 48, 48)).softmax(dim=1)[0, 2])
    np.testing.assert_allclose([deletion.values[0], *deletion.random[:, 0]], whole, atol=1e-5)
    np.testing.assert_allclose([deletion.values[-1], *deletion.random[:, -1]], gray, atol=1e-5)
    np.testing.assert_allclose([insertion.values[-1], *insertion.random[:, -1]], whole, atol=1e-5)


def test_a_deletion_curve_is_what_covering_by_hand_gives(net: Checkpoint, face: np.ndarray) -> None:
    order = np.random.default_rng(3).random((48, 48))
    curve = deletion_curve(make_question(net, face[None], FEAR), order)
    cells = np.argsort(-cell_means(order))
    for step in (1, 7, 20):
        covered = net.preprocess(face[None])
        for cell in cells[: round(step / STEPS * 144)]:
            top, left = divmod(int(cell), 12)
            covered[0, 0, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] = 0
        with torch.no_grad():
            expected = float(net.model(covered).softmax(dim=1)[0, 2])
        assert curve.values[step] == pytest.approx(expected, abs=1e-5)


def test_of_two_emotions_the_probability_among_the_two_is_drawn(net: Checkpoint, face: np.ndarray) -> None:
    weights = FEAR - np.eye(7, dtype=np.float32)[[5]]
    curve = deletion_curve(make_question(net, face[None], weights), np.zeros((48, 48)))
    p = attribute(net, face[None], "saliency").probabilities[0]
    assert curve.values[0] == pytest.approx(p[2] / (p[2] + p[5]), abs=1e-5)


# -- randomisation ---------------------------------------------------------------------------------


def test_shuffling_keeps_the_numbers_and_changes_their_order() -> None:
    conv, before = nn.Conv2d(3, 8, 3), {}
    before = {name: tensor.clone() for name, tensor in conv.state_dict().items()}
    shuffle(conv, torch.Generator().manual_seed(0))
    for name, tensor in conv.state_dict().items():
        torch.testing.assert_close(tensor.flatten().sort().values, before[name].flatten().sort().values)
        assert not torch.equal(tensor, before[name])


def edges(ask: object) -> Tensor:
    """An edge detector, which looks convincing and asks the network nothing."""
    inputs: Tensor = ask.inputs  # type: ignore[attr-defined]
    kernel = torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]).view(1, 1, 3, 3)
    return nn.functional.conv2d(inputs, kernel, padding=1).abs()[:, 0]


def test_an_edge_detector_posing_as_a_method_is_found_out(
    net: Checkpoint, face: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "edges", Method("Edges", "Where edges are.", "none", edges, shown="positive"))
    checked = examine(net, face, attribute(net, face[None], "edges", "Fear"))
    assert checked.evidence is not None
    np.testing.assert_allclose(checked.evidence.randomisation.correlation, 1, atol=1e-9)
    np.testing.assert_allclose(checked.evidence.randomisation.ssim, 1, atol=1e-6)
    by_name = {check.name: check for check in checked.checks}
    assert not by_name["Depends on the weights"].passed
    assert "mean rank correlation of 1.00 with itself" in by_name["Depends on the weights"].told
    assert "depends on the weights" in checked.verdict.partition("failed: ")[2]


def test_the_gradient_depends_on_the_weights(net: Checkpoint, face: np.ndarray) -> None:
    result = attribute(net, face[None], "saliency", "Fear")
    ask = make_question(net, face[None], FEAR)
    shares: list[float] = []
    found = randomise(ask, METHODS["saliency"], result.maps[0], report=shares.append)
    assert found.layers == ("linear", "res2.1", "res2.0", "conv2", "res1.1", "res1.0", "conv1")
    assert found.correlation[-1] < 0.5
    assert shares[-1] == 1.0
    again = randomise(ask, METHODS["saliency"], result.maps[0])
    np.testing.assert_array_equal(found.correlation, again.correlation)


# -- infidelity and sensitivity --------------------------------------------------------------------


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient", "integrated-gradients"])
def test_of_a_linear_score_its_gradient_accounts_for_all(linear: Checkpoint, face: np.ndarray, method: str) -> None:
    result = attribute(linear, face[None], method, "Fear")
    own, random = infidelity(make_question(linear, face[None], FEAR), METHODS[method], result.maps[0])
    assert own == pytest.approx(0, abs=1e-3)
    assert len(random) == RANDOM_ORDERS
    assert random.min() > 0.1


def captums(net: Checkpoint, face: np.ndarray, maps: np.ndarray, squares: np.ndarray, per_gray: bool) -> np.ndarray:
    """Captum's infidelity of Fear, each map (N, 48, 48) scaled as suits it best with either sign, as a share of that of
    a map of zeros."""
    maps, inputs = np.concatenate([maps, np.zeros((1, 48, 48))]), net.preprocess(face[None])
    n = len(maps)

    def cover(repeated: Tensor) -> tuple[Tensor, Tensor]:
        masks = torch.from_numpy(squares).repeat(n, 1, 1)[:, None]
        return (repeated * masks if per_gray else masks), repeated * (1 - masks)

    values = torch.from_numpy(maps).float()[:, None]
    expanded = inputs.expand(n, -1, -1, -1)
    errors = captum_infidelity(
        net.model, cover, expanded, values, target=2, n_perturb_samples=len(squares), normalize=True
    ).numpy()
    return np.asarray(errors[:-1] / errors[-1])


@pytest.mark.parametrize("method", ["occlusion", "saliency"])
def test_infidelity_is_captums_and_an_opposite_map_accounts_for_nothing(
    net: Checkpoint, face: np.ndarray, method: str
) -> None:
    values = np.random.default_rng(6).normal(0, 1, (48, 48)).astype(np.float32)
    ask = make_question(net, face[None], FEAR)
    own, random = infidelity(ask, METHODS[method], values, seed=9)
    opposite, opposite_random = infidelity(ask, METHODS[method], -values, seed=9)
    rng = np.random.default_rng(9)
    maps = [values, *(checks._shuffled_cells(values, rng) for _ in range(RANDOM_ORDERS))]
    squares = random_squares(checks.SQUARES, rng)
    expected = captums(net, face, np.stack(maps), squares, METHODS[method].per_gray)
    pairs = np.sort([[own, *random], [opposite, *opposite_random]], axis=0)
    np.testing.assert_allclose(pairs[0], expected, atol=1e-3)  # of a map and its negative one is Captum's,
    np.testing.assert_array_equal(pairs[1], 1)  # and the other foretells the opposite of what happens
    assert pairs[0].max() < 1


def test_the_negative_of_a_true_map_fails(linear: Checkpoint, face: np.ndarray) -> None:
    result, ask = attribute(linear, face[None], "integrated-gradients", "Fear"), make_question(linear, face[None], FEAR)
    own, random = infidelity(ask, METHODS["integrated-gradients"], -result.maps[0])
    assert own == 1
    assert not (own < random).any()


def test_of_a_score_that_covering_leaves_alone_no_map_accounts(linear: Checkpoint) -> None:
    gray = np.full((48, 48), 127.5)
    own, random = infidelity(make_question(linear, gray[None], FEAR), METHODS["occlusion"], np.ones((48, 48)))
    assert own == 1
    assert (random == 1).all()


def test_sensitivity_of_a_linear_score_is_nought(linear: Checkpoint, face: np.ndarray) -> None:
    ask = make_question(linear, face[None], FEAR)
    assert sensitivity_of(ask, METHODS["saliency"]) == pytest.approx(0, abs=1e-6)
    assert 0 < sensitivity_of(ask, METHODS["input-x-gradient"]) < 0.1  # follows the pixels themselves


def test_a_map_that_jumps_is_found_unstable(linear: Checkpoint, face: np.ndarray) -> None:
    jumpy = Method("Jumpy", "", "", lambda ask: torch.sign(torch.sin(1e4 * ask.inputs[:, 0])))
    assert sensitivity_of(make_question(linear, face[None], FEAR), jumpy) > 1


# -- the verdict -----------------------------------------------------------------------------------


def evidence(
    area: float = 0.1, gain: float = 0.9, kept: float = 0.2, unexplained: float = 0.1, change: float = 0.1
) -> Evidence:
    shares = np.array([0.0, 1.0])
    random = np.linspace(0.4, 0.6, RANDOM_ORDERS)
    flat = np.stack([random, random], axis=1)
    randomisation = Randomisation(("linear", "conv1"), np.array([kept, kept]), np.array([0.0, 0.0]))
    return Evidence(
        Curve(shares, np.full(2, area), flat), Curve(shares, np.full(2, gain), flat), randomisation,
        unexplained, np.linspace(0.3, 0.9, RANDOM_ORDERS), change,
    )  # fmt: skip


def judged(found: Evidence) -> Trust:
    return Trust("run", 1, "saliency", "", "Fear", "", found)


def test_the_verdict_in_plain_words() -> None:
    assert judged(evidence()).verdict == "Passed all 5 checks"
    assert judged(evidence(area=0.41)).verdict == "Passed 4 of 5 checks; failed: deletion"
    assert judged(evidence(gain=0.59, change=0.7)).verdict == "Passed 3 of 5 checks; failed: insertion, stable"
    none = judged(evidence(area=0.9, gain=0.1, kept=0.5, unexplained=0.31, change=0.5))
    assert none.verdict.startswith("Passed 0 of 5 checks")
    told = " ".join(check.told for check in judged(evidence()).checks)
    assert "leaves an area of 0.10 under the probability of Fear, 0.50 in random order: faster than 19 of 19" in told
    assert "leaves 10% of the score's changes" in told
    assert "changes the map by up to 10% (limit 50%)" in told


def test_a_map_that_says_nothing_is_not_checked(net: Checkpoint, face: np.ndarray) -> None:
    checked = examine(net, face, attribute(net, face[None], "saliency", ("Fear", "Fear")))
    assert (checked.evidence, checked.checks) == (None, ())
    assert checked.verdict.startswith("The map is all zero, since an emotion is compared with itself")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_examined(net: Checkpoint, face: np.ndarray, method: str) -> None:
    result: Attribution = attribute(net, np.stack([face, face[::-1]]), method)
    before = {name: tensor.clone() for name, tensor in net.model.state_dict().items()}
    shares: list[float] = []
    checked = examine(net, face[::-1], result, 1, report=shares.append)
    assert (checked.method, checked.target, checked.layer) == (method, result.targets[1], result.layer)
    assert len(checked.checks) == 5
    assert 0 <= checked.evidence.infidelity <= 1.001  # type: ignore[union-attr]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.model.state_dict().items())
    assert not any(module._forward_hooks for module in net.model.modules())


def test_a_trained_networks_occlusion_can_be_trusted_more_than_noise(finished: Run, faces: object) -> None:
    """On a network that learned its faces: occlusion passes what a map of noise fails."""
    checkpoint, images = finished.load_checkpoint(), faces.split("validation").images  # type: ignore[attr-defined]
    result = attribute(checkpoint, images[:1], "occlusion")
    noise = replace(result, maps=np.random.default_rng(0).normal(0, 1, result.maps.shape).astype(np.float32))
    good, bad = (examine(checkpoint, images[0], each).evidence for each in (result, noise))
    assert good is not None
    assert bad is not None
    assert good.infidelity < bad.infidelity
    assert good.deletion.area < bad.deletion.area
