"""Evaluation against loops over hand-made sets: a network whose answers are known image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.pixels import Pixels
from sskd_lib import evaluation
from sskd_lib.data.images import ImageSet
from sskd_lib.evaluation import agreement, contrastive_accuracy, evaluate, linear_cka, predict
from sskd_lib.models.backbone import Backbone
from sskd_lib.models.network import Network
from sskd_lib.runtime.device import Runtime


class Table(nn.Module):
    """A classifier that looks logits up: row i of a table for the feature i."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, features: Tensor) -> Tensor:
        return self.table[features[:, 0].long()]


class LookUp(Backbone):
    """A backbone that answers image number i (its first pixel) with row i of a table of logits."""

    min_pixels = 1

    def __init__(self, table: Tensor) -> None:
        super().__init__(in_channels=1, feature_dim=1)
        self.fc = Table(table)
        self.modes: list[tuple[bool, bool]] = []  # training, gradient

    def features(self, x: Tensor) -> Tensor:
        self.modes.append((self.training, torch.is_grad_enabled()))
        return (x[:, 0, 0, :1] * 255).round()


def numbered(labels: list[int], classes: int) -> ImageSet:
    """Images whose first pixel is their number."""
    images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(labels))
    names = tuple(f"class {k}" for k in range(classes))
    return ImageSet(images=images, labels=torch.tensor(labels), classes=names, name="numbered")


def looking_up(table: list[list[float]] | Tensor) -> Network:
    return Network(LookUp(torch.as_tensor(table, dtype=torch.float32)), mean=[0.0], std=[1.0])


def random_table(rows: int, classes: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


# ---- predict -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 11, 500])
def test_predict_keeps_the_order_over_all_batches(batch, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH", batch)
    table = random_table(11, 4)
    data = numbered([0] * 11, 4)
    network = looking_up(table)
    for images in (data, data.images):
        output = predict(network, images)
        assert torch.equal(output.logits, table)
        assert output.features.flatten().tolist() == list(range(11))
        assert output.projection is None
        assert not output.logits.requires_grad
    assert len(network.backbone.modes) == 2 * math.ceil(11 / batch)


@pytest.mark.parametrize("training", [True, False])
def test_predict_runs_in_eval_mode_and_puts_the_old_mode_back(training):
    network = looking_up(random_table(5, 3)).train(training)
    predict(network, numbered([0] * 5, 3))
    assert network.backbone.modes == [(False, False)]  # eval mode, no gradient
    assert network.training == network.backbone.training == training


def test_predict_gives_the_projection_of_upright_unchanged_pixels():
    images = torch.randint(256, (6, 1, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = Network(Pixels(9, 2), mean=[0.0], std=[1.0], projection=True)
    network.head = nn.Identity()
    output = predict(network, images, Runtime(channels_last=True))
    np.testing.assert_allclose(output.projection, images.flatten(1).numpy() / 255, rtol=1e-6)
    assert output.projection.dtype == output.features.dtype == torch.float32
    half = predict(network, images, Runtime(dtype=torch.bfloat16))
    assert all(part.dtype == torch.float32 for part in half[:3])


# ---- evaluate ------------------------------------------------------------------------------------


def loop_figures(table: list[list[float]], labels: list[int]) -> dict[str, float]:
    hits, losses = [], []
    bins: list[list[tuple[float, float]]] = [[] for _ in range(15)]
    for row, label in zip(table, labels, strict=True):
        probabilities = [math.exp(z) / sum(map(math.exp, row)) for z in row]
        guess = probabilities.index(max(probabilities))
        hits.append(float(guess == label))
        losses.append(-math.log(probabilities[label]))
        bins[min(int(15 * max(probabilities)), 14)].append((hits[-1], max(probabilities)))
    count = len(labels)
    gaps = [abs(sum(h for h, _ in b) / len(b) - sum(c for _, c in b) / len(b)) * len(b) for b in bins if b]
    return {
        "accuracy": 100 * sum(hits) / count,
        "loss": sum(losses) / count,
        "calibration_error": 100 * sum(gaps) / count,
    }


@pytest.mark.parametrize(("count", "classes", "seed"), [(1, 2, 0), (40, 3, 1), (200, 10, 2), (250, 2, 3)])
def test_evaluate_equals_the_loop(count, classes, seed):
    table = random_table(count, classes, seed)
    labels = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    result = evaluate(looking_up(table), numbered(labels, classes))
    expected = loop_figures(table.double().tolist(), labels)
    assert result == pytest.approx(expected, rel=1e-4)


def test_evaluate_by_hand():
    # logits         (ln 9, 0) twice    (0, ln 3)    (60, 0)
    # confidence      .9, class 0     .75, class 1   1.0, class 0
    # label           0: right          1: right     1: wrong         accuracy 3 of 4
    # loss            ln(10/9) = .105361  ln(4/3) = .287682   60      mean (2 · .105361 + .287682 + 60) / 4
    # bin of 1/15     13                11           14, the last
    # gap             2 |1 - .9|     + |1 - .75|   + |0 - 1| = 1.45   calibration error 1.45 / 4
    table = [[math.log(9), 0], [math.log(9), 0], [0, math.log(3)], [60, 0]]
    result = evaluate(looking_up(table), numbered([0, 0, 1, 1], 2))
    assert result == pytest.approx(
        {"accuracy": 75.0, "loss": 15.124600792, "calibration_error": 36.25}, rel=1e-6
    )


def test_evaluate_refuses_a_network_of_other_classes():
    with pytest.raises(ValueError, match=r"has 4 classes, but numbered has 3\. .*same classes"):
        evaluate(looking_up(random_table(5, 4)), numbered([0] * 5, 3))


def test_agreement_counts_equal_names():
    a = torch.tensor([[3.0, 1, 2], [0, 5, 1], [2, 1, 0], [0, 0, 9]])
    b = torch.tensor([[9.0, 8, 7], [1, 0, 2], [5, 4, 4], [7, 0, 8]])  # classes 0 2 0 2 against 0 1 0 2
    assert agreement(a, b) == 75.0
    assert agreement(a, a) == 100.0
    assert agreement(a, -a) == 0.0
    one, other = random_table(100, 5, seed=1), random_table(100, 5, seed=2)
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    assert agreement(one, other) == pytest.approx(sum(p.index(max(p)) == q.index(max(q)) for p, q in pairs))


# ---- the contrastive task ------------------------------------------------------------------------


def seeing_pixels(size: int) -> Network:
    """A network whose projection is the image's pixels, unchanged."""
    network = Network(Pixels(size * size, 2), mean=[0.0], std=[1.0], projection=True)
    network.head = nn.Identity()
    return network


def image_set(images: Tensor) -> ImageSet:
    labels = torch.arange(len(images)) % 2
    return ImageSet(images=images, labels=labels, classes=("a", "b"), name="made")


def loop_contrastive_accuracy(images: np.ndarray, batch: int) -> float:
    hits = []
    for start in range(0, len(images) - batch + 1, batch):
        group = images[start : start + batch, 0].astype(np.float64)
        for i, image in enumerate(group):
            for turns in (1, 2, 3):
                view = np.rot90(image, turns)
                cosines = [(view * u).sum() / np.sqrt((view**2).sum() * (u**2).sum()) for u in group]
                hits.append(cosines.index(max(cosines)) == i)
    return 100 * sum(hits) / len(hits)


@pytest.mark.parametrize(("count", "batch"), [(12, 4), (13, 4), (15, 4), (9, 9), (7, 2)])
def test_contrastive_accuracy_equals_the_loop_and_leaves_a_short_batch_out(count, batch):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(1, 256, (count, 1, 5, 5), dtype=torch.uint8, generator=generator)
    whole = images + (images.rot90(2, (-2, -1)) > 200)  # half-way symmetric: some views find their image
    whole[count // 2 :] = torch.maximum(whole, whole.rot90(1, (-2, -1)))[count // 2 :]
    result = contrastive_accuracy(seeing_pixels(5), image_set(whole), batch)
    assert result == pytest.approx(loop_contrastive_accuracy(whole.numpy(), batch))
    if batch == 4:
        assert 0 < result < 100  # the case decides something


def test_contrastive_accuracy_of_symmetric_images_is_full_and_of_equal_ones_chance():
    images = torch.zeros(8, 1, 16, 16, dtype=torch.uint8)
    for i in range(8):
        images[i, 0, i : 16 - i, i : 16 - i] = 200
        images[i, 0, i + 1 : 15 - i, i + 1 : 15 - i] = 0  # eight frames, one within the other
    assert contrastive_accuracy(seeing_pixels(16), image_set(images), 8) == 100.0
    equal = torch.full((8, 1, 16, 16), 7, dtype=torch.uint8)
    assert contrastive_accuracy(seeing_pixels(16), image_set(equal), 8) == 100 / 8


def test_contrastive_accuracy_keeps_the_mode_and_takes_no_random_number():
    network = seeing_pixels(4).train()
    before = torch.get_rng_state()
    images = torch.randint(
        1, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    contrastive_accuracy(network, image_set(images), 3)
    assert network.training
    assert torch.equal(torch.get_rng_state(), before)


def test_contrastive_accuracy_needs_a_head_and_a_whole_batch():
    data = image_set(torch.ones(6, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="no projection head; train one with train_head"):
        contrastive_accuracy(Network(Pixels(16, 2), mean=[0.0], std=[1.0]), data, 3)
    with pytest.raises(ValueError, match="made has 6 images, fewer than one batch of 64; lower batch_size"):
        contrastive_accuracy(seeing_pixels(4), data)


# ---- CKA -----------------------------------------------------------------------------------------


def features(rows: int, width: int, seed: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop_cka(a: np.ndarray, b: np.ndarray) -> float:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with linear kernels K = a aᵀ, L = b bᵀ (Kornblith 2019)."""
    m = len(a)

    def centred_kernel(x: np.ndarray) -> np.ndarray:
        kernel = np.array([[sum(p * q for p, q in zip(u, v, strict=True)) for v in x] for u in x])
        centring = np.eye(m) - 1 / m
        return centring @ kernel @ centring

    def hsic(k: np.ndarray, l_: np.ndarray) -> float:
        return sum(k[i, j] * l_[j, i] for i in range(m) for j in range(m))

    k, l_ = centred_kernel(a), centred_kernel(b)
    return hsic(k, l_) / math.sqrt(hsic(k, k) * hsic(l_, l_))


@pytest.mark.parametrize(("rows", "widths", "seed"), [(5, (3, 3), 0), (12, (2, 7), 1), (20, (8, 1), 2)])
def test_linear_cka_equals_the_loop(rows, widths, seed):
    a, b = features(rows, widths[0], seed), features(rows, widths[1], seed + 50)
    assert linear_cka(a, b) == pytest.approx(loop_cka(a.numpy(), b.numpy()), rel=1e-9)
    assert linear_cka(b, a) == pytest.approx(linear_cka(a, b))
    assert 0 <= linear_cka(a, b) <= 1


def test_linear_cka_ignores_rotation_scale_and_shift_but_not_stretching():
    a, b = features(30, 6, 0), features(30, 6, 1)
    rotation, _ = torch.linalg.qr(features(6, 6, 2))
    moved = -3.7 * b @ rotation + features(1, 6, 3)
    assert linear_cka(a, moved) == pytest.approx(linear_cka(a, b), rel=1e-9)
    assert linear_cka(b, moved) == pytest.approx(1.0)
    stretched = b * torch.tensor([30.0, 1, 1, 1, 1, 1])
    assert linear_cka(b, stretched) < 0.95


def test_linear_cka_of_unrelated_features_is_zero():
    a = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    b = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    assert linear_cka(a, b) == pytest.approx(0.0, abs=1e-12)


def test_linear_cka_computes_in_double_precision():
    a = features(50, 4, 0).float() + 1000  # a large mean would eat single precision
    assert linear_cka(a, a - 1000) == pytest.approx(1.0, abs=1e-6)
