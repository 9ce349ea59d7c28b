"""CRD and ReviewKD, the losses with a memory or a network of their own, against float64 loops.

The loops share nothing with the library but the rows that CRD draws, which are checked by themselves.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sskd_lib.losses.crd import CRD
from sskd_lib.losses.reviewkd import ReviewKD, hcl_loss

Array = np.ndarray
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 1, 0, 2])
INDEX = torch.tensor([4, 0, 9])
SHAPES = [(2, 8, 8), (3, 4, 4), (4, 1, 1)], [(3, 8, 8), (2, 8, 8), (5, 1, 1)]


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def crd(seed: int = 0, **settings) -> CRD:
    torch.manual_seed(seed)
    return CRD(3, 5, LABELS, **{"width": 4, "negatives": 7, **settings})


def review(seed: int = 0) -> ReviewKD:
    torch.manual_seed(seed)
    return ReviewKD(*SHAPES)


def features(dtype: torch.dtype = torch.float32, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    return normal(3, 3, seed=seed, dtype=dtype), normal(3, 5, seed=seed + 1, dtype=dtype), INDEX


def stages(dtype: torch.dtype = torch.float32, seed: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    student, teacher = ([normal(3, *s, seed=seed + i, dtype=dtype) for s in SHAPES[i]] for i in (0, 1))
    return student, teacher


MODULES = {"crd": (crd, features), "reviewkd": (review, stages)}


@pytest.fixture(params=MODULES)
def case(request):
    return MODULES[request.param]


def tensors(inputs: tuple, side: int) -> list[Tensor]:
    return inputs[side] if isinstance(inputs[side], list) else [inputs[side]]


# ---- the formulas as loops -----------------------------------------------------------------------


def unit(v: Array) -> Array:
    return v / math.sqrt(sum(a * a for a in v))


def array(x: Tensor) -> Array:
    return x.detach().double().numpy().copy()


def loop_crd(module: CRD, s: Array, t: Array, state: dict) -> float:
    """One training step. state: the memories and normalisers, changed in place."""
    k, m = module.negatives, len(LABELS)
    rows = module.draw(INDEX).tolist()
    embedded = {}
    for name, x in (("student", s), ("teacher", t)):
        layer = getattr(module, name)
        embedded[name] = [unit(array(layer.weight) @ row + array(layer.bias)) for row in x]
    total = 0.0
    for own, other in (("student", "teacher"), ("teacher", "student")):
        memory = state[f"memory_{other}"]
        drawn, mean = [], 0.0
        for e, i in zip(embedded[own], INDEX.tolist(), strict=True):
            positive = math.exp(float(e @ memory[i]) / 0.07)
            others = [math.exp(float(e @ memory[j]) / 0.07) for j in rows if LABELS[j] != LABELS[i]]
            drawn.append((positive, others))
            mean += (positive + k * sum(others) / len(others)) / (k + 1) / len(INDEX)
        z = state[f"normaliser_{own}"] = state[f"normaliser_{own}"] or mean * m
        for positive, others in drawn:
            h = [p / z / (p / z + k / m) for p in (positive, *others)]
            total -= math.log(h[0]) + k * sum(math.log(1 - x) for x in h[1:]) / len(others)
    for name in ("student", "teacher"):
        for e, i in zip(embedded[name], INDEX.tolist(), strict=True):
            state[f"memory_{name}"][i] = unit(0.5 * state[f"memory_{name}"][i] + 0.5 * e)
    return total / len(INDEX)


def nearest(x: Array, height: int, width: int) -> Array:
    n, c, h, w = x.shape
    rows, columns = ([i * a // b for i in range(b)] for a, b in ((h, height), (w, width)))
    return x[:, :, rows][:, :, :, columns]


def conv_norm(layers: nn.Sequential, x: Array) -> Array:
    """A convolution with zero padding, then BatchNorm with the statistics of the batch."""
    weight = array(layers[0].weight)
    size, pad = weight.shape[2], weight.shape[2] // 2
    h, w = x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    y = sum(
        np.einsum("oc,nchw->nohw", weight[:, :, i, j], x[:, :, i : i + h, j : j + w])
        for i in range(size)
        for j in range(size)
    )
    mean, variance = y.mean((0, 2, 3), keepdims=True), y.var((0, 2, 3), keepdims=True)
    return (y - mean) / np.sqrt(variance + 1e-5)


def loop_hcl(s: Array, t: Array) -> float:
    n, c, h, w = s.shape
    total, weights = float(((s - t) ** 2).mean()), [1.0]
    for size in (4, 2, 1):
        if size < h:
            a, b = (x.reshape(n, c, size, h // size, size, w // size).mean((3, 5)) for x in (s, t))
            weights.append(weights[-1] / 2)
            total += weights[-1] * float(((a - b) ** 2).mean())
    return total / sum(weights)


def loop_review(module: ReviewKD, student: list[Array], teacher: list[Array]) -> float:
    total, residual = 0.0, None
    for stage, s, t in list(zip(module.stages, student, teacher, strict=True))[::-1]:
        x = conv_norm(stage.enter, s)
        if residual is not None:
            r = nearest(residual, *x.shape[2:])
            weight, bias = array(stage.attention.weight)[:, :, 0, 0], array(stage.attention.bias)
            a = np.einsum("oc,nchw->nohw", weight, np.concatenate((x, r), 1)) + bias[:, None, None]
            a = 1 / (1 + np.exp(-a))
            x = a[:, :1] * x + a[:, 1:] * r
        residual = nearest(x, *t.shape[2:])
        total += loop_hcl(conv_norm(stage.leave, residual), t)
    return total


# ---- values and gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("negatives", [7, 20])  # fewer and more than there are images
def test_three_steps_of_crd_are_the_loops(negatives):
    module = crd(negatives=negatives).double()
    state = {name: array(x) for name, x in module.named_buffers() if name != "labels"}
    for step in range(3):
        s, t, _ = features(torch.float64, seed=step)
        expected = loop_crd(module, s.numpy(), t.numpy(), state)
        assert module(s, t, INDEX).item() == pytest.approx(expected, rel=1e-10)
    for name, value in state.items():
        np.testing.assert_allclose(array(getattr(module, name)), value, rtol=1e-10)
    module.eval()
    memory = module.memory_student.clone()
    assert module(s, t, INDEX).item() == pytest.approx(loop_crd(module, array(s), array(t), state), rel=1e-10)
    assert torch.equal(module.memory_student, memory)


def test_reviewkd_is_the_loops():
    module = review().double()
    student, teacher = stages(torch.float64)
    expected = loop_review(module, [array(x) for x in student], [array(x) for x in teacher])
    assert module(student, teacher).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("size", [8, 4, 2, 1])
def test_hcl_pools_to_sizes_below_that_of_the_map(size):
    s, t = normal(3, 2, size, size, seed=1), normal(3, 2, size, size, seed=2)
    assert hcl_loss(s, t).item() == pytest.approx(loop_hcl(s.numpy(), t.numpy()), rel=1e-12)
    assert hcl_loss(t, t).item() == 0


def test_the_gradients_are_those_of_the_values():
    module = crd().double()
    s, t, _ = features(torch.float64)
    module(s, t, INDEX)  # sets Z, which takes no part in the gradient
    module.eval()
    assert torch.autograd.gradcheck(lambda x: module(x, t, INDEX), s.requires_grad_())
    layers, (student, teacher) = review().double(), stages(torch.float64)
    deep = student[-1].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layers([*student[:-1], x], teacher), deep)
    maps = normal(2, 2, 4, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: hcl_loss(x, normal(2, 2, 4, 4, seed=2)), maps)


# ---- what holds for both -------------------------------------------------------------------------


def train(module: nn.Module, inputs: tuple, steps: int, rate: float = 0.01) -> list[float]:
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = module(*inputs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_twenty_steps_of_sgd_lower_it(case):
    make, data = case
    losses = train(make(), data(), 21)
    assert losses[-1] < 0.9 * losses[0]


def test_the_embeddings_of_crd_learn_with_the_memory_held():
    module = crd()
    module.eval()(*features())
    assert module.normaliser_student == module.normaliser_teacher == 0  # only training sets Z
    module.train()(*features())
    losses = train(module.eval(), features(), 21, rate=1e-3)
    assert losses[-1] < 0.9 * losses[0]


def test_the_teacher_gets_no_gradient(case):
    make, data = case
    module, inputs = make(), data()
    for side in (0, 1):
        for x in tensors(inputs, side):
            x.requires_grad_()
    module(*inputs).backward()
    assert all(x.grad is None for x in tensors(inputs, 1))
    assert all(x.grad.isfinite().all() and x.grad.abs().sum() > 0 for x in tensors(inputs, 0))
    assert all(p.grad is not None for p in module.parameters())


def test_a_restored_module_goes_on_bit_by_bit(case):
    make, data = case
    module, twin = make(), make(seed=1)
    train(module, data(), 3)
    state = copy.deepcopy(module.state_dict())
    expected = train(module, data(seed=5), 3)
    torch.rand(7)  # the global random state plays no part
    twin.load_state_dict(state)
    assert train(twin, data(seed=5), 3) == expected
    after = twin.state_dict()
    assert all(torch.equal(x, after[name]) for name, x in module.state_dict().items())


def test_half_precision_is_finite_and_the_loss_single(case):
    make, data = case
    module, inputs = make(), data(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = module(*inputs)
    for loss in (module(*inputs), under_autocast):
        loss.backward()
        assert loss.dtype == torch.float32 and loss.isfinite()
    assert all(p.grad.isfinite().all() for p in module.parameters())


# ---- the draw of CRD, and messages ---------------------------------------------------------------


@pytest.mark.parametrize("images", [2, 3, 4, 11, 12, 50, 1000])
def test_a_draw_has_different_rows_and_follows_the_batch(images):
    module = CRD(1, 1, torch.arange(images) % 2, width=1, negatives=images)
    generator = torch.Generator().manual_seed(0)
    starts = []
    for _ in range(200):
        index = torch.randperm(images, generator=generator)[: min(8, images - 1)]
        rows = module.draw(index)
        starts.append(rows[0].item())
        assert rows.sort().values.tolist() == list(range(images))
        assert torch.equal(module.draw(index.flip(0)), rows)
    assert len(set(starts)) > (1 if images < 12 else min(images, 200) // 2)
    few = CRD(1, 1, torch.arange(images) % 2, width=1, negatives=2).draw(index)
    assert torch.equal(few, rows[:2])


class Largest(TorchDispatchMode):
    """Remembers the size of the largest new tensor (not of a memory) that an operation made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, Tensor) and func is not torch.ops.aten.index_copy_.default:
                self.size = max(self.size, x.numel())
        return out


def test_crd_never_waits_for_the_device_and_makes_no_large_tensor():
    """On tensors without contents a value that is looked at would be an error."""
    module = CRD(128, 128, torch.arange(20000) % 10)
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        module = copy.deepcopy(module)
    with mode, Largest() as largest:
        student = torch.randn(64, 128, requires_grad=True)
        module(student, torch.randn(64, 128), torch.zeros(64, dtype=torch.long)).backward()
    assert 4096 * 128 <= largest.size < 3 * 64 * 128 * 64


def test_what_does_not_fit_is_named():
    s, t, _ = features()
    for index in (INDEX[:2], INDEX[:, None], INDEX.int()):
        with pytest.raises(ValueError, match=r"int64 \[3\].*place.*loader"):
            crd()(s, t, index)
    with pytest.raises(ValueError, match="same batch"):
        crd()(s, t[:2], INDEX)
    with pytest.raises(ValueError, match="no negatives.*ALL training images"):
        CRD(3, 5, torch.zeros(9, dtype=torch.long))
    with pytest.raises(ValueError, match="every training image"):
        CRD(3, 5, torch.zeros(9))
    for settings in ({"negatives": 0}, {"temperature": 0.0}, {"momentum": 1.0}):
        with pytest.raises(ValueError, match="at least 1 negative"):
            crd(**settings)
    student, teacher = stages()
    with pytest.raises(ValueError, match="as many of each"):
        ReviewKD(SHAPES[0], SHAPES[1][:2])
    with pytest.raises(ValueError, match=r"\[C, 1, 1\]"):
        ReviewKD([(4,)], [(4, 1, 1)])
    with pytest.raises(ValueError, match="the student's maps.*shallow first"):
        review()(student[::-1], teacher)
    with pytest.raises(ValueError, match="the teacher's maps"):
        review()(student, teacher[:2])
    with pytest.raises(ValueError, match="same batch"):
        review()(student, [x[:2] for x in teacher])
    with pytest.raises(ValueError, match="ReviewKD"):
        hcl_loss(student[0], teacher[0])
