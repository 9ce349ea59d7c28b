"""Every term of the registry against its oracle, and what holds for all of them.

An oracle is a float64 loop written from the paper's formula (helpers/oracles.py). Gradients are compared with
finite differences of the values.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.oracles import ORACLES, array
from helpers.outputs import LABELS, from_parts, normal, pair_for, parts, random_output, ready_term
from sskd_lib.data.batch import Batch
from sskd_lib.losses import TERMS, Term
from sskd_lib.losses.kdsvd import singular_vectors
from sskd_lib.models.network import Output

OTHER_NUMBERS = [
    ("fitnet", {"stage": 1}),
    ("at", {"p": 3.0}),
    ("vid", {"variance": 0.5}),
    ("rkd", {"distance": 1.0, "angle": 0.0}),
    ("ab", {"margin": 0.5}),
    ("ft", {"rate": 1.0}),
    ("crd", {"negatives": 7, "temperature": 0.2}),  # fewer than there are images
    ("cc", {"width": 5}),
    ("kdsvd", {"k": 2}),
    ("dkd", {"alpha": 2.0, "beta": 0.5, "temperature": 1.0}),
    ("dist", {"beta": 2.0, "gamma": 3.0, "temperature": 1.0}),
    ("kd-ls", {"temperature": 3.0}),
    ("dkd-ls", {"alpha": 3.0, "beta": 1.0, "temperature": 1.0}),
    ("wttm", {"gamma": 0.5, "weighted": False}),
]
ZERO_IF_EQUAL = ["at", "sp", "rkd", "pkt", "nst", "fsp", "kdsvd", "dkd", "simkd", "dist", "kd-ls", "dkd-ls"]
LAYERS = ["fitnet", "vid", "ab", "ft", "crd", "cc", "reviewkd"]


@pytest.fixture(params=TERMS)
def name(request):
    return request.param


def trained(student: Output) -> Output:
    """An output whose tensors collect gradients."""
    return student.each(lambda part: part.detach().clone().requires_grad_())


def gradients(output: Output) -> list[Tensor]:
    return [part.grad for part in parts(output) if part.grad is not None]


def descend(term: Term, student: Output, teacher: Output, batch: Batch, steps: int) -> list[float]:
    """Values while the student's tensors and the term's layers are trained."""
    optimizer = torch.optim.Adam([*parts(student), *term.parameters()], lr=0.01)
    values = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = term(student, teacher, batch)
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def test_every_term_has_an_oracle():
    assert ORACLES.keys() == TERMS.keys()


@pytest.mark.parametrize(("name", "numbers"), [*((name, {}) for name in TERMS), *OTHER_NUMBERS])
def test_the_value_is_the_loops_and_the_gradient_the_difference_quotient(name, numbers):
    student, teacher, batch = pair_for(name)
    term = ready_term(name, student, teacher, numbers)
    expected = ORACLES[name](term, student.each(array), teacher.each(array), batch)
    assert term(student, teacher, batch).item() == pytest.approx(expected, rel=1e-9)
    term.eval()  # CRD's memory and normaliser, and BatchNorm's averages, stay as they are
    inputs = parts(trained(student))
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if name == "kdsvd" else {}
    assert torch.autograd.gradcheck(
        lambda *tensors: term(from_parts(tensors), teacher, batch), inputs, fast_mode=True, **tolerance
    )


def test_the_gradient_reaches_student_and_layers_but_never_the_teacher(name):
    student, teacher, batch = pair_for(name, dtype=torch.float32)
    student, teacher = trained(student), trained(teacher)
    term = ready_term(name, student, teacher)
    term(student, teacher, batch).backward()
    assert not gradients(teacher)
    assert gradients(student) and all(g.isfinite().all() and g.abs().sum() > 0 for g in gradients(student))
    idle = [key for key, parameter in term.named_parameters() if parameter.grad is None]
    assert all(
        key.startswith(("paraphraser.", "decoder.")) for key in idle
    )  # FT's is trained in the first stage
    if term.first_stage:
        term.zero_grad()
        term.first_stage_loss(student, teacher, batch).backward()
        assert not gradients(teacher) and all(term.get_parameter(key).grad is not None for key in idle)


def test_twenty_steps_lower_it(name):
    student, teacher, batch = pair_for(name, dtype=torch.float32)
    term = ready_term(name, student, teacher)
    if name == "crd":  # one step sets its normaliser; then the memory stays, so that all steps have one loss
        term(student, teacher, batch)
        term.eval()
    values = descend(term, trained(student), teacher, batch, 21)
    assert values[-1] < values[0] - 0.01 * abs(values[0])


def test_the_first_stage_of_ft_trains_the_paraphraser():
    _, teacher, batch = pair_for("ft", dtype=torch.float32)
    term = ready_term("ft", teacher, teacher)
    rebuilt = term.decoder(term.paraphraser(teacher.maps[-1]))
    value = term.first_stage_loss(teacher, teacher, batch)
    torch.testing.assert_close(value, (rebuilt - teacher.maps[-1]).square().mean())
    optimizer = torch.optim.Adam([*term.paraphraser.parameters(), *term.decoder.parameters()], lr=0.01)
    value.backward()
    optimizer.step()
    assert term.first_stage_loss(teacher, teacher, batch) < value


@pytest.mark.parametrize("name", ZERO_IF_EQUAL)
def test_equal_networks_have_no_loss_and_no_gradient(name):
    output, batch = random_output(4, 5), pair_for(name)[2]
    student = trained(output)
    value = ready_term(name, output, output)(student, output, batch)
    value.backward()
    limit = 1e-4 if name == "dist" else 1e-6  # the published 10⁻⁸ in the lengths, times τ² = 16
    assert abs(value.item()) < limit and all(g.abs().max() < limit for g in gradients(student))


def test_single_precision_is_close_to_double(name):
    exact, single = pair_for(name), pair_for(name, dtype=torch.float32)
    value = ready_term(name, *single[:2])(*single)
    torch.testing.assert_close(value.double(), ready_term(name, *exact[:2])(*exact), rtol=1e-4, atol=1e-6)


def test_half_precision_and_autocast_give_a_single_precision_loss(name):
    student, teacher, batch = pair_for(name, dtype=torch.bfloat16)
    single = student.to(torch.float32), teacher.to(torch.float32)
    expected = ready_term(name, *single)(*single, batch)
    term = ready_term(name, *single)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = term(*single, batch)
    value.backward() if name in LAYERS else None
    assert value.dtype == torch.float32
    tolerance = {"rtol": 0.1, "atol": 0.02} if name in LAYERS else {"rtol": 1e-5, "atol": 1e-7}
    torch.testing.assert_close(value, expected, **tolerance)
    assert all(p.grad.isfinite().all() for p in term.parameters() if p.grad is not None)
    if name not in LAYERS:
        torch.testing.assert_close(term(student, teacher, batch), expected, rtol=1e-5, atol=1e-7)


def test_a_batch_of_one_is_finite_and_has_no_relations(name):
    student, teacher, batch = pair_for(name, dtype=torch.float32, rows=1)
    student = trained(student)
    value = ready_term(name, student, teacher)(student, teacher, batch)
    value.backward()
    assert value.isfinite() and all(g.isfinite().all() for g in gradients(student))
    if name in ("sp", "pkt", "rkd", "cc", "reviewkd"):
        assert abs(value.item()) < 1e-6 and all(g.abs().max() < 1e-6 for g in gradients(student))


@pytest.mark.parametrize("fill", [0.0, 0.3])
def test_dead_channels_equal_images_and_constant_rows_keep_the_gradient_small(name, fill):
    student, teacher, batch = pair_for(name, dtype=torch.float32)
    for part in parts(student):
        part[:2] = fill
    student = trained(student)
    value = ready_term(name, student, teacher)(student, teacher, batch)
    value.backward()
    assert value.isfinite()
    assert all(g.isfinite().all() and g.abs().max() < 1e3 for g in gradients(student))


def test_two_different_batches_are_refused(name):
    student, teacher, batch = pair_for(name, dtype=torch.float32)
    term = ready_term(name, student, teacher)
    with pytest.raises(ValueError, match=r"row|shape|images"):
        term(student, teacher.each(lambda part: part[:3]), batch)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest new tensor (not of a memory) that an operation made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, Tensor) and func is not torch.ops.aten.index_copy_.default:
                self.size = max(self.size, x.numel())
        return out


def test_nothing_waits_for_the_device_and_no_tensor_is_large(name):
    """On tensors without contents, code that reads a value raises an error."""
    student, teacher = (
        random_output(64, seed, stages=((16, 16), (16, 16), (32, 8), (64, 4))) for seed in (1, 2)
    )
    term = ready_term(name, student, teacher)
    if name == "crd":
        term.setup(student, teacher, torch.arange(20000) % 10)
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        term, student, teacher = copy.deepcopy((term, trained(student), teacher))
        batch = copy.deepcopy(Batch(torch.arange(64) % 5, torch.arange(64)))
    with mode, Largest() as largest:
        term(student, teacher, batch).backward()
    images, width = student.features.shape
    wide_maps = images * width * 16 * 16 if name == "reviewkd" else 0  # its width inside
    assert largest.size <= max(wide_maps, 3 * images * width * images - 1)


@pytest.mark.parametrize("name", LAYERS)
def test_restored_layers_go_on_bit_by_bit(name):
    student, teacher, batch = pair_for(name, dtype=torch.float32)
    term, twin = (ready_term(name, student, teacher, seed=seed) for seed in (0, 1))
    descend(term, trained(student), teacher, batch, 3)
    state = copy.deepcopy(term.state_dict())
    expected = descend(term, trained(student), teacher, batch, 3)
    torch.rand(7)  # the global random state plays no part
    twin.load_state_dict(state)
    assert descend(twin, trained(student), teacher, batch, 3) == expected
    after = twin.state_dict()
    assert all(torch.equal(x, after[key]) for key, x in term.state_dict().items())


def test_numbers_are_all_arguments_of_a_term(name):
    term = TERMS[name]()
    assert type(term)(**term.numbers).numbers == term.numbers and term.numbers["weight"] == term.weight


def test_kdsvd_stays_finite_where_singular_values_are_equal():
    """The exact derivative of a singular vector has a pole there: torch.linalg.svd gives inf or nan."""
    student = torch.eye(4).view(1, 4, 2, 2).repeat(2, 1, 1, 1).requires_grad_()
    vectors, values = singular_vectors(student, 2)
    torch.testing.assert_close(values, torch.full((2, 2), 0.5))
    (vectors * normal(2, 4, 2, seed=1, dtype=torch.float32)).sum().backward()
    assert student.grad.isfinite().all()
    exact = student.detach().clone().requires_grad_()
    v = torch.linalg.svd(exact.flatten(2).mT)[2][:, :2]
    (v * normal(2, 2, 4, seed=1, dtype=torch.float32)).sum().backward()
    assert not exact.grad.isfinite().all()


@pytest.mark.parametrize("negatives", [7, 16384])  # fewer and more than there are images
def test_three_steps_of_crd_are_the_loops(negatives):
    """The memory takes in each embedding after the scores, the normaliser is set once, eval changes none."""
    student, teacher, batch = pair_for("crd")
    term = ready_term("crd", student, teacher, {"negatives": negatives})
    for step in range(3):
        student, teacher, _ = pair_for("crd", seed=step)
        arrays = student.each(array), teacher.each(array)
        expected = ORACLES["crd"](term, *arrays, batch)
        memory, places = array(term.memory_student), batch.index.numpy()
        embedded = array(term.student(student.features))
        mixed = memory[places] + embedded / (embedded**2).sum(1, keepdims=True) ** 0.5
        memory[places] = mixed / (mixed**2).sum(1, keepdims=True) ** 0.5
        assert term(student, teacher, batch).item() == pytest.approx(expected, rel=1e-10)
        torch.testing.assert_close(term.memory_student, torch.from_numpy(memory), rtol=1e-10, atol=0)
    term.eval()
    state = copy.deepcopy(term.state_dict())
    expected = ORACLES["crd"](term, *arrays, batch)
    assert term(student, teacher, batch).item() == pytest.approx(expected, rel=1e-10)
    assert all(torch.equal(x, state[key]) for key, x in term.state_dict().items())


@pytest.mark.parametrize("images", [2, 3, 4, 11, 12, 50, 1000])
def test_a_draw_of_crd_has_different_rows_and_follows_the_batch(images):
    def term(negatives: int) -> Term:
        made = TERMS["crd"](negatives=negatives)
        made.setup(*pair_for("crd", dtype=torch.float32)[:2], torch.arange(images) % 2)
        return made

    every, few = term(images), term(2)
    generator = torch.Generator().manual_seed(0)
    starts = set()
    for _ in range(200):
        index = torch.randperm(images, generator=generator)[: min(8, images - 1)]
        rows = every.draw(index)
        starts.add(rows[0].item())
        assert rows.sort().values.tolist() == list(range(images))
        assert torch.equal(every.draw(index.flip(0)), rows)
    assert len(starts) > (1 if images < 12 else min(images, 200) // 2)
    assert torch.equal(few.draw(index), rows[:2])


def test_crd_needs_the_index_and_two_classes():
    student, teacher, batch = pair_for("crd", dtype=torch.float32)
    with pytest.raises(ValueError, match="index of each image"):
        ready_term("crd", student, teacher)(student, teacher, Batch(batch.labels))
    for labels, message in (
        (0 * LABELS, r"no negatives.*ALL training images"),
        (LABELS.float(), "every training"),
    ):
        with pytest.raises(ValueError, match=message):
            TERMS["crd"]().setup(student, teacher, labels)
    for numbers in ({"negatives": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match="at least (1 negative|0.02)"):
            TERMS["crd"](**numbers)
