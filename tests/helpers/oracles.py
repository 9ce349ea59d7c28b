"""The formula of each term as a float64 loop: one row per term in ORACLES.

A row is called as row(term, student, teacher, batch): outputs of numpy arrays, and the term for its numbers
and its layers. Nothing else comes from the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from sskd_lib.data.batch import Batch
from sskd_lib.models.network import Output

Array = np.ndarray


def array(x: torch.Tensor) -> Array:
    return x.detach().double().numpy().copy()


def unit(v: Array) -> Array:
    return v / math.sqrt(sum(a * a for a in v.flatten()))


def softmax(row: Array) -> list[float]:
    powers = [math.exp(z - max(row)) for z in row]
    return [p / sum(powers) for p in powers]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def pooled(x: Array, size: int) -> Array:
    """Average over equal squares."""
    n, c, h, w = x.shape
    return x.reshape(n, c, size, h // size, size, w // size).mean((3, 5))


def same_size(s: Array, t: Array) -> tuple[Array, Array]:
    size = min(s.shape[2], t.shape[2])
    return pooled(s, size), pooled(t, size)


def stages(student: Output, teacher: Output) -> list[tuple[Array, Array]]:
    return list(zip(student.maps[1:], teacher.maps[1:], strict=True))


def layer(module: nn.Module, x: Array) -> Array:
    """Layers as torch has them: only what is done with their output is written as a loop."""
    return array(module(torch.from_numpy(x)))


# ---- maps ----------------------------------------------------------------------------------------


def attention(x: Array, p: float) -> Array:
    q = np.zeros(x.shape[1:])
    for channel in x:
        q += np.abs(channel) ** p
    return unit(q)


def at(s: Array, t: Array, p: float = 2) -> float:
    pairs = zip(*same_size(s, t), strict=True)
    return float(np.mean([(attention(a, p) - attention(b, p)) ** 2 for a, b in pairs]))


def ft(s: Array, t: Array) -> float:
    pairs = zip(*same_size(s, t), strict=True)
    return float(np.mean([np.abs(attention(a, 2) - attention(b, 2)) for a, b in pairs]))


def sp(s: Array, t: Array) -> float:
    matrices = []
    for x in (s, t):
        gram = [[float((a * b).sum()) for b in x] for a in x]
        matrices.append([unit(np.array(row)) for row in gram])
    n = len(s)
    return sum((matrices[0][i][j] - matrices[1][i][j]) ** 2 for i in range(n) for j in range(n)) / n**2


def nst(s: Array, t: Array) -> float:
    total = 0.0
    for a, b in zip(*same_size(s, t), strict=True):
        a, b = [unit(c.flatten()) for c in a], [unit(c.flatten()) for c in b]
        for x, y, sign in ((b, b, 1), (a, a, 1), (a, b, -2)):
            total += sign * sum((u @ v) ** 2 for u in x for v in y) / len(x) / len(y)
    return total / len(s)


def vid(distribution: nn.Module, s: Array, t: Array) -> float:
    s, t = same_size(s, t)
    for number, conv in enumerate(m for m in distribution.mean if isinstance(m, nn.Conv2d)):
        s = np.einsum("oc,nchw->nohw", array(conv.weight)[:, :, 0, 0], np.maximum(s, 0) if number else s)
    variance, total = [math.log(1 + math.exp(a)) + 1e-5 for a in array(distribution.alpha)], 0.0
    for n, c, h, w in np.ndindex(*t.shape):
        total += 0.5 * ((t[n, c, h, w] - s[n, c, h, w]) ** 2 / variance[c] + math.log(variance[c]))
    return total / t.size


def ab(s: Array, t: Array, margin: float = 1.0) -> float:
    total = 0.0
    for a, b in zip(s.flatten(), t.flatten(), strict=True):
        if b > 0 and a <= margin:
            total += (a - margin) ** 2
        if b <= 0 and a > -margin:
            total += (a + margin) ** 2
    return total / len(s)


def ab_stages(term: Any, student: Output, teacher: Output, batch: Batch) -> float:
    """Each stage has twice the weight of the one before."""
    pairs = list(zip(term.connectors, stages(student, teacher), strict=True))
    values = [ab(layer(connect, s), t, term.margin) for connect, (s, t) in pairs]
    return 0.003 * sum(value / 2 ** (len(values) - 1 - i) for i, value in enumerate(values))


def fsp(s: tuple[Array, ...], t: tuple[Array, ...]) -> float:
    total = 0.0
    for stage in range(len(s) - 1):
        matrices = []
        for x in (s, t):
            a, b = same_size(x[stage], x[stage + 1])
            shape = (len(a), a.shape[1], b.shape[1])
            matrices.append([np.mean(a[n, i] * b[n, j]) for n, i, j in np.ndindex(*shape)])
        total += float(np.mean((np.array(matrices[0]) - np.array(matrices[1])) ** 2))
    return total


def kdsvd(s: tuple[Array, ...], t: tuple[Array, ...], k: int = 1) -> float:
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


def mean_square(s: Array, t: Array) -> float:
    return float(np.mean((s - t) ** 2))


# ---- ReviewKD ------------------------------------------------------------------------------------


def nearest(x: Array, height: int, width: int) -> Array:
    h, w = x.shape[2:]
    rows, columns = ([i * a // b for i in range(b)] for a, b in ((h, height), (w, width)))
    return x[:, :, rows][:, :, :, columns]


def conv_norm(layers: nn.Sequential, x: Array) -> Array:
    """A convolution with zero padding, then BatchNorm with the statistics of the batch."""
    weight = array(layers[0].weight)
    size, pad = weight.shape[2], weight.shape[2] // 2
    h, w = x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    places = product(range(size), repeat=2)
    y = sum(np.einsum("oc,nchw->nohw", weight[:, :, i, j], x[:, :, i : i + h, j : j + w]) for i, j in places)
    mean, variance = y.mean((0, 2, 3), keepdims=True), y.var((0, 2, 3), keepdims=True)
    return (y - mean) / np.sqrt(variance + 1e-5)


def hcl(s: Array, t: Array) -> float:
    total, weights = mean_square(s, t), [1.0]
    for size in (4, 2, 1):
        if size < s.shape[2]:
            weights.append(weights[-1] / 2)
            total += weights[-1] * mean_square(pooled(s, size), pooled(t, size))
    return total / sum(weights)


def reviewkd(term: Any, student: Output, teacher: Output, batch: Batch) -> float:
    features = (student.features[..., None, None], teacher.features[..., None, None])
    total, residual = 0.0, None
    for stage, (s, t) in zip(reversed(term.stages), [features, *stages(student, teacher)[::-1]], strict=True):
        x = conv_norm(stage.enter, s)
        if residual is not None:
            r = nearest(residual, *x.shape[2:])
            weight, bias = array(stage.attention.weight)[:, :, 0, 0], array(stage.attention.bias)
            a = np.einsum("oc,nchw->nohw", weight, np.concatenate((x, r), 1)) + bias[:, None, None]
            a = 1 / (1 + np.exp(-a))
            x = a[:, :1] * x + a[:, 1:] * r
        residual = nearest(x, *t.shape[2:])
        total += hcl(conv_norm(stage.leave, residual), t)
    return total


# ---- features ------------------------------------------------------------------------------------


def pkt(s: Array, t: Array) -> float:
    p = []
    for x in (s, t):
        kernel = np.array([[(unit(a) @ unit(b) + 1) / 2 for b in x] for a in x])
        p.append([row / sum(row) for row in kernel])
    pairs = [(b, a) for i in range(len(s)) for a, b in zip(p[0][i], p[1][i], strict=True)]
    return sum(b * math.log((b + 1e-7) / (a + 1e-7)) for b, a in pairs) / len(s) ** 2


def rkd(s: Array, t: Array, distance: float = 25, angle: float = 50) -> float:
    def huber(x: float) -> float:
        return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5

    n, psi, cosines = len(s), [], []
    for x in (s, t):
        far = {(i, j): math.dist(x[i], x[j]) for i, j in product(range(n), repeat=2)}
        mean = sum(far.values()) / (n * n - n)
        psi.append([d / mean for d in far.values()])
        cosines.append([])
        for j, i, k in product(range(n), repeat=3):
            same = j in (i, k)
            cosines[-1].append(0.0 if same else (x[i] - x[j]) @ (x[k] - x[j]) / far[i, j] / far[k, j])
    pairs = sum(huber(a - b) for a, b in zip(*psi, strict=True)) / n**2
    return distance * pairs + angle * sum(huber(a - b) for a, b in zip(*cosines, strict=True)) / n**3


def embed(linear: nn.Linear, x: Array) -> Array:
    return np.array([array(linear.weight) @ row + array(linear.bias) for row in x])


def cc(s: Array, t: Array) -> float:
    delta = np.abs(s - t)
    return sum(float(delta[i] @ delta[i + 1]) for i in range(len(s) - 1)) / (len(s) - 1)


def congruence(s: Array, t: Array) -> float:
    total = 0.0
    for i, j in product(range(len(s)), repeat=2):
        k = []
        for x in (s, t):
            dot = float(unit(x[i]) @ unit(x[j]))
            k.append(math.exp(-0.8) * (1 + 0.8 * dot + 0.8**2 / 2 * dot**2))
        total += (k[0] - k[1]) ** 2
    return total / len(s) ** 2


def crd(term: Any, student: Output, teacher: Output, batch: Batch) -> float:
    """The rows that are drawn are the term's; they are checked by themselves."""
    k, labels, index = term.negatives, term.labels.tolist(), batch.index.tolist()
    rows, total = term.draw(batch.index).tolist(), 0.0
    for linear, x, side, other in (
        (term.student, student.features, "student", "teacher"),
        (term.teacher, teacher.features, "teacher", "student"),
    ):
        memory, drawn, mean = array(getattr(term, f"memory_{other}")), [], 0.0
        for e, i in zip(map(unit, embed(linear, x)), index, strict=True):
            positive = math.exp(float(e @ memory[i]) / term.temperature)
            others = [
                math.exp(float(e @ memory[j]) / term.temperature) for j in rows if labels[j] != labels[i]
            ]
            drawn.append((positive, others))
            mean += (positive + k * sum(others) / len(others)) / (k + 1) / len(index)
        z = float(getattr(term, f"normaliser_{side}")) or mean * len(labels)
        for positive, others in drawn:
            h = [p / z / (p / z + k / len(labels)) for p in (positive, *others)]
            total -= math.log(h[0]) + k * sum(math.log(1 - x) for x in h[1:]) / len(others)
    return total / len(index)


# ---- logits --------------------------------------------------------------------------------------


def dkd(term: Any, s: Array, t: Array, labels: list[int]) -> float:
    total, tau = 0.0, term.temperature
    for row_s, row_t, y in zip(s, t, labels, strict=True):
        q, p = softmax(row_s / tau), softmax(row_t / tau)
        others = [k for k in range(len(p)) if k != y]
        total += term.alpha * kl([p[y], 1 - p[y]], [q[y], 1 - q[y]])
        total += term.beta * kl([p[k] / (1 - p[y]) for k in others], [q[k] / (1 - q[y]) for k in others])
    return tau**2 * total / len(s)


def dist(s: Array, t: Array, beta: float, gamma: float, tau: float) -> float:
    y_s, y_t = (np.array([softmax(row / tau) for row in z]) for z in (s, t))

    def distance(a: Array, b: Array) -> float:
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        pairs = zip(a, b, strict=True)
        return float(np.mean([1 - u @ v / (np.linalg.norm(u) * np.linalg.norm(v) + 1e-8) for u, v in pairs]))

    return tau**2 * (beta * distance(y_s, y_t) + gamma * distance(y_s.T, y_t.T))


def standardised(logits: Array) -> Array:
    return np.array([(row - row.mean()) / row.std(ddof=1) for row in logits])


def kd(s: Array, t: Array, tau: float) -> float:
    return tau**2 * float(
        np.mean([kl(softmax(b / tau), softmax(a / tau)) for a, b in zip(s, t, strict=True)])
    )


def wttm(s: Array, t: Array, gamma: float, weighted: bool) -> float:
    total = 0.0
    for row_s, row_t in zip(s, t, strict=True):
        power = [p**gamma for p in softmax(row_t)]
        total += (sum(power) if weighted else 1) * kl([p / sum(power) for p in power], softmax(row_s))
    return total / len(s)


# ---- one row per term ----------------------------------------------------------------------------

ORACLES: dict[str, Callable[[Any, Output, Output, Batch], float]] = {
    "fitnet": lambda term, s, t, _: mean_square(
        layer(term.regressor, s.maps[term.stage]), t.maps[term.stage]
    ),
    "at": lambda term, s, t, _: sum(at(*pair, term.p) for pair in stages(s, t)),
    "sp": lambda term, s, t, _: sp(s.maps[-1], t.maps[-1]),
    "vid": lambda term, s, t, _: sum(
        vid(q, *pair) for q, pair in zip(term.distributions, stages(s, t), strict=True)
    ),
    "rkd": lambda term, s, t, _: rkd(s.features, t.features, term.distance, term.angle),
    "pkt": lambda term, s, t, _: pkt(s.features, t.features),
    "ab": ab_stages,
    "ft": lambda term, s, t, _: ft(layer(term.translator, s.maps[-1]), layer(term.paraphraser, t.maps[-1])),
    "crd": crd,
    "cc": lambda term, s, t, _: cc(embed(term.student, s.features), embed(term.teacher, t.features)),
    "nst": lambda term, s, t, _: sum(nst(*pair) for pair in stages(s, t)),
    "fsp": lambda term, s, t, _: fsp(s.maps, t.maps),
    "kdsvd": lambda term, s, t, _: kdsvd(s.maps[1:], t.maps[1:], term.k),
    "dkd": lambda term, s, t, batch: dkd(term, s.logits, t.logits, batch.labels.tolist()),
    "simkd": lambda term, s, t, _: mean_square(s.last, t.last),
    "dist": lambda term, s, t, _: dist(s.logits, t.logits, term.beta, term.gamma, term.temperature),
    "kd-ls": lambda term, s, t, _: kd(standardised(s.logits), standardised(t.logits), term.temperature),
    "dkd-ls": lambda term, s, t, batch: dkd(
        term, standardised(s.logits), standardised(t.logits), batch.labels.tolist()
    ),
    "reviewkd": reviewkd,
    "wttm": lambda term, s, t, _: wttm(s.logits, t.logits, term.gamma, term.weighted),
}
