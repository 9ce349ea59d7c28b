"""The losses of the zoo against float64 loops written from the papers' formulas.

The loops share nothing with the library; the gradients are checked against finite differences of the values.
What each loss must not see, and what holds for all of them, is in test_zoo_rules.py.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from sskd_lib.losses.ab import ab_loss, boundary_loss
from sskd_lib.losses.at import at_loss
from sskd_lib.losses.cc import cc_loss, congruence_loss
from sskd_lib.losses.dist import dist_loss
from sskd_lib.losses.dkd import dkd_loss
from sskd_lib.losses.fitnet import hint_loss
from sskd_lib.losses.fsp import fsp_loss
from sskd_lib.losses.ft import ft_loss
from sskd_lib.losses.kdsvd import kdsvd_loss
from sskd_lib.losses.logit_std import standardised_kd_loss
from sskd_lib.losses.nst import nst_loss
from sskd_lib.losses.pkt import pkt_loss
from sskd_lib.losses.rkd import rkd_loss
from sskd_lib.losses.sp import sp_loss
from sskd_lib.losses.vid import vid_loss
from sskd_lib.losses.wttm import wttm_loss

Array = np.ndarray
LABELS = [2, 0, 4]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(channels: int = 3, size: int = 2, seed: int = 0) -> Tensor:
    return normal(3, channels, size, size, seed=seed)


# ---- the formulas as loops -----------------------------------------------------------------------


def pooled(x: Array, size: int) -> Array:
    """Average over equal squares."""
    n, c, h, w = x.shape
    return x.reshape(n, c, size, h // size, size, w // size).mean((3, 5))


def unit(v: Array) -> Array:
    return v / math.sqrt(sum(a * a for a in v.flatten()))


def softmax(row: Array) -> list[float]:
    powers = [math.exp(z - max(row)) for z in row]
    return [p / sum(powers) for p in powers]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def attention(x: Array, p: int) -> Array:
    q = np.zeros(x.shape[1:])
    for channel in x:
        q += np.abs(channel) ** p
    return unit(q)


def loop_at(s: Array, t: Array) -> float:
    size = min(s.shape[2], t.shape[2])
    pairs = zip(pooled(s, size), pooled(t, size), strict=True)
    return float(np.mean([(attention(a, 2) - attention(b, 2)) ** 2 for a, b in pairs]))


def loop_ft(s: Array, t: Array) -> float:
    return float(np.mean([np.abs(attention(a, 2) - attention(b, 2)) for a, b in zip(s, t, strict=True)]))


def loop_sp(s: Array, t: Array) -> float:
    tables = []
    for x in (s, t):
        gram = [[float((a * b).sum()) for b in x] for a in x]
        tables.append([unit(np.array(row)) for row in gram])
    n = len(s)
    return sum((tables[0][i][j] - tables[1][i][j]) ** 2 for i in range(n) for j in range(n)) / n**2


def loop_dkd(s: Array, t: Array, alpha: float = 1.0, beta: float = 8.0, tau: float = 4.0) -> float:
    total = 0.0
    for row_s, row_t, y in zip(s, t, LABELS, strict=True):
        q, p = softmax(row_s / tau), softmax(row_t / tau)
        target = kl([p[y], 1 - p[y]], [q[y], 1 - q[y]])
        others = [k for k in range(len(p)) if k != y]
        total += alpha * target
        total += beta * kl([p[k] / (1 - p[y]) for k in others], [q[k] / (1 - q[y]) for k in others])
    return tau**2 * total / len(s)


def loop_dist(s: Array, t: Array, beta: float = 1.0, gamma: float = 1.0, tau: float = 1.0) -> float:
    y_s, y_t = (np.array([softmax(row / tau) for row in z]) for z in (s, t))

    def distance(a: Array, b: Array) -> float:
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        pairs = zip(a, b, strict=True)
        return float(np.mean([1 - u @ v / (np.linalg.norm(u) * np.linalg.norm(v) + 1e-8) for u, v in pairs]))

    return tau**2 * (beta * distance(y_s, y_t) + gamma * distance(y_s.T, y_t.T))


def loop_standardised(s: Array, t: Array, tau: float = 2.0) -> float:
    z = [[(row - row.mean()) / row.std(ddof=1) / tau for row in logits] for logits in (s, t)]
    return tau**2 * float(np.mean([kl(softmax(b), softmax(a)) for a, b in zip(*z, strict=True)]))


def loop_pkt(s: Array, t: Array) -> float:
    p = []
    for x in (s, t):
        kernel = np.array([[(unit(a) @ unit(b) + 1) / 2 for b in x] for a in x])
        p.append([row / sum(row) for row in kernel])
    pairs = [(b, a) for i in range(len(s)) for a, b in zip(p[0][i], p[1][i], strict=True)]
    return sum(b * math.log((b + 1e-7) / (a + 1e-7)) for b, a in pairs) / len(s) ** 2


def loop_rkd(s: Array, t: Array) -> float:
    def huber(x: float) -> float:
        return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5

    n, psi, cosines = len(s), [], []
    for x in (s, t):
        far = {(i, j): math.dist(x[i], x[j]) for i, j in product(range(n), repeat=2)}
        mean = sum(far.values()) / (n * n - n)
        psi.append([d / mean for d in far.values()])
        cosines.append([])
        for j, i, k in product(range(n), repeat=3):
            same = i == j or k == j
            angle = 0.0 if same else (x[i] - x[j]) @ (x[k] - x[j]) / far[i, j] / far[k, j]
            cosines[-1].append(angle)
    pairs = sum(huber(a - b) for a, b in zip(*psi, strict=True)) / n**2
    return 25 * pairs + 50 * sum(huber(a - b) for a, b in zip(*cosines, strict=True)) / n**3


def loop_nst(s: Array, t: Array) -> float:
    total = 0.0
    for a, b in zip(s, t, strict=True):
        a, b = [unit(c.flatten()) for c in a], [unit(c.flatten()) for c in b]
        for x, y, sign in ((b, b, 1), (a, a, 1), (a, b, -2)):
            total += sign * sum((u @ v) ** 2 for u in x for v in y) / len(x) / len(y)
    return total / len(s)


def loop_cc(s: Array, t: Array) -> float:
    delta = np.abs(s - t)
    return sum(float(delta[i] @ delta[i + 1]) for i in range(len(s) - 1)) / (len(s) - 1)


def loop_congruence(s: Array, t: Array) -> float:
    total = 0.0
    for i, j in product(range(len(s)), repeat=2):
        k = []
        for x in (s, t):
            dot = float(unit(x[i]) @ unit(x[j]))
            k.append(math.exp(-0.8) * (1 + 0.8 * dot + 0.8**2 / 2 * dot**2))
        total += (k[0] - k[1]) ** 2
    return total / len(s) ** 2


def loop_wttm(s: Array, t: Array, gamma: float = 0.2) -> float:
    total = 0.0
    for row_s, row_t in zip(s, t, strict=True):
        power = [p**gamma for p in softmax(row_t)]
        total += sum(power) * kl([p / sum(power) for p in power], softmax(row_s))
    return total / len(s)


def loop_vid(mean: Array, t: Array) -> float:
    variance, total = [0.5, 2.0, 1.3], 0.0
    for n, c, h, w in np.ndindex(*t.shape):
        total += 0.5 * ((t[n, c, h, w] - mean[n, c, h, w]) ** 2 / variance[c] + math.log(variance[c]))
    return total / t.size


def loop_ab(s: Array, t: Array) -> float:
    total = 0.0
    for a, b in zip(s.flatten(), t.flatten(), strict=True):
        if b > 0 and a <= 1:
            total += (a - 1) ** 2
        if b <= 0 and a > -1:
            total += (a + 1) ** 2
    return total / len(s)


def loop_fsp(s: list[Array], t: list[Array]) -> float:
    total = 0.0
    for stage in range(len(s) - 1):
        matrices = []
        for x in (s, t):
            size = min(x[stage].shape[2], x[stage + 1].shape[2])
            a, b = pooled(x[stage], size), pooled(x[stage + 1], size)
            shape = (len(a), a.shape[1], b.shape[1])
            matrices.append([np.mean(a[n, i] * b[n, j]) for n, i, j in np.ndindex(*shape)])
        total += float(np.mean((np.array(matrices[0]) - np.array(matrices[1])) ** 2))
    return total


def loop_kdsvd(s: list[Array], t: list[Array], k: int = 1) -> float:
    total, before = 0.0, None
    for a, b in zip(s, t, strict=True):
        now = []
        for image_s, image_t in zip(a, b, strict=True):
            _, values, v_t = np.linalg.svd(image_t.reshape(len(image_t), -1).T)
            _, _, v_s = np.linalg.svd(image_s.reshape(len(image_s), -1).T, full_matrices=False)
            weight = values[:k] / np.linalg.norm(values[:k])
            rows_s, rows_t = [], []
            for r in range(k):
                row = v_t[r] * np.sign(v_t[r][np.argmax(np.abs(v_t[r]))])
                nearest = max(v_s[: k + 3], key=lambda v, row=row: abs(v @ row))
                rows_s.append(weight[r] * nearest * np.sign(nearest @ row))
                rows_t.append(weight[r] * row)
            now.append((rows_s, rows_t))
        for old, new in zip(before or [], now, strict=False):
            for r in range(k):
                for x, y in product(range(len(old[0][r])), range(len(new[0][r]))):
                    rbf = [math.exp(-((old[w][r][x] - new[w][r][y]) ** 2) / 8) for w in (0, 1)]
                    total += (rbf[0] - rbf[1]) ** 2 / len(s[0])
        before = now
    return total


# ---- values and gradients ------------------------------------------------------------------------

STAGES = [normal(2, 2, 4, 4, seed=5), normal(2, 3, 2, 2, seed=6), normal(2, 5, 2, 2, seed=7)]
OTHER_STAGES = [normal(2, 2, 4, 4, seed=8), normal(2, 3, 2, 2, seed=9), normal(2, 5, 2, 2, seed=10)]
VARIANCE = torch.tensor([0.5, 2.0, 1.3], dtype=torch.float64)
LOGITS = normal(3, 5, seed=1) * 3, normal(3, 5, seed=2) * 3
FEATURES = normal(4, 3, seed=3), normal(4, 5, seed=4)

CASES = {
    "at": (at_loss, loop_at, maps(seed=1), maps(2, 4, seed=2)),
    "at, student larger": (at_loss, loop_at, maps(3, 4, seed=1), maps(2, seed=2)),
    "sp": (sp_loss, loop_sp, maps(seed=1), maps(4, 1, seed=2)),
    "dkd": (lambda s, t: dkd_loss(s, t, torch.tensor(LABELS)), loop_dkd, *LOGITS),
    "dist": (dist_loss, loop_dist, *LOGITS),
    "dist, weighted": (
        lambda s, t: dist_loss(s, t, beta=2, gamma=3, temperature=4),
        lambda s, t: loop_dist(s, t, 2, 3, 4),
        *LOGITS,
    ),
    "logit_std": (standardised_kd_loss, loop_standardised, *LOGITS),
    "pkt": (pkt_loss, loop_pkt, *FEATURES),
    "rkd": (rkd_loss, loop_rkd, *FEATURES),
    "fitnet": (hint_loss, lambda s, t: float(np.mean((s - t) ** 2)), maps(seed=1), maps(seed=2)),
    "vid": (lambda s, t: vid_loss(s, VARIANCE, t), loop_vid, maps(seed=1), maps(seed=2)),
    "nst": (nst_loss, loop_nst, maps(seed=1), maps(2, 4, seed=2)[:, :, ::2, ::2]),
    "cc": (cc_loss, loop_cc, normal(4, 3, seed=3), normal(4, 3, seed=4)),
    "cc, paper": (congruence_loss, loop_congruence, *FEATURES),
    "wttm": (wttm_loss, loop_wttm, *LOGITS),
    "ab": (boundary_loss, loop_ab, maps(seed=1), maps(seed=2)),
    "ft": (ft_loss, loop_ft, maps(seed=1), maps(2, seed=2)),
}


@pytest.mark.parametrize("name", CASES)
def test_value_equals_the_loop_and_gradient_the_difference_quotient(name):
    loss, loop, student, teacher = CASES[name]
    assert loss(student, teacher).item() == pytest.approx(loop(student.numpy(), teacher.numpy()), rel=1e-9)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student.clone().requires_grad_())


@pytest.mark.parametrize(
    ("loss", "loop"),
    [
        (fsp_loss, loop_fsp),
        (kdsvd_loss, loop_kdsvd),
        (lambda s, t: kdsvd_loss(s, t, k=2), lambda s, t: loop_kdsvd(s, t, k=2)),
    ],
    ids=["fsp", "kdsvd", "kdsvd, two vectors"],
)
def test_losses_of_several_stages_equal_the_loop(loss, loop):
    numbers = [[x.numpy() for x in stages] for stages in (STAGES, OTHER_STAGES)]
    assert loss(STAGES, OTHER_STAGES).item() == pytest.approx(loop(*numbers), rel=1e-9)
    inputs = [x.clone().requires_grad_() for x in STAGES]
    assert torch.autograd.gradcheck(lambda *s: loss(s, OTHER_STAGES), inputs, rtol=1e-4, atol=1e-6)


def test_stages_of_ab_weigh_twice_the_one_before():
    values = [boundary_loss(s, t) for s, t in zip(STAGES, OTHER_STAGES, strict=True)]
    expected = 0.003 * (values[0] / 4 + values[1] / 2 + values[2])
    assert ab_loss(STAGES, OTHER_STAGES).item() == pytest.approx(expected.item(), rel=1e-12)
