"""`create_method`: what a name means, what its terms sum to, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.outputs import INDEX, LABELS, random_output
from sskd_lib.data.batch import Batch
from sskd_lib.losses import (
    BASES,
    METHODS,
    PRETEXTS,
    TERMS,
    Method,
    Needs,
    Sum,
    Term,
    create_method,
    kl_rows,
    sskd_terms,
)
from sskd_lib.losses.at import at_loss
from sskd_lib.losses.dkd import dkd_loss
from sskd_lib.models.network import Output
from sskd_lib.recipes import Recipe

# Published weights of the term and of cross-entropy beside it.
WEIGHTS = {
    **{"fitnet": (100, 1), "at": (1000, 1), "sp": (3000, 1), "vid": (1, 1), "rkd": (1, 1), "pkt": (30000, 1)},
    **{"ab": (1, 1), "ft": (200, 1), "crd": (0.8, 1), "cc": (0.02, 1), "nst": (50, 1), "fsp": (1, 1)},
    **{"kdsvd": (1, 1), "dkd": (1, 1), "simkd": (1, 0), "dist": (2, 1), "kd-ls": (9, 0.1), "dkd-ls": (9, 1)},
    **{"reviewkd": (5, 1), "wttm": (4, 1)},
}


def ready(name: str, rows: int = 4, **numbers) -> tuple[Method, Output, Output, Batch]:
    """A method set up for two random outputs, past any first stage and warm-up."""
    method = create_method(name, **numbers)
    student, teacher = (random_output(rows * method.needs.views, seed) for seed in (1, 2))
    method.setup(student, teacher, LABELS)
    method.eval()  # CRD's memory stays as it is
    method.begin_epoch(9, 10)
    return method, student, teacher, Batch(LABELS[INDEX[:rows]], INDEX[:rows])


# ---- what a method sums --------------------------------------------------------------------------


def test_numbers_of_soft_targets_are_those_published_for_cifar100():
    """DIST: dist_cifar.yaml. DKD: mdistiller. On standardised logits: commands for resnet32x4 → resnet8x4."""
    numbers = {name: create_method(name).plan()[name] for name in ("dist", "kd-ls", "dkd", "dkd-ls")}
    assert numbers == {
        "dist": {"weight": 2, "beta": 1, "gamma": 1, "temperature": 4},
        "kd-ls": {"weight": 9, "temperature": 2},
        "dkd": {"weight": 1, "alpha": 1, "beta": 8, "temperature": 4},
        "dkd-ls": {"weight": 9, "alpha": 1, "beta": 8, "temperature": 2},
    }


@pytest.mark.parametrize("name", TERMS)
def test_alone_a_term_is_added_to_cross_entropy_with_its_published_weight(name):
    method, student, teacher, batch = ready(name)
    terms, (weight, ce_weight) = method(student, teacher, batch), WEIGHTS[name]
    ce = F.cross_entropy(student.logits, batch.labels)
    assert (method.needs.views, method.needs_teacher, method.needs_projection) == (1, True, False)
    if TERMS[name].only_first_stage:
        assert set(terms) == {"ce", "total"}
        method.begin_epoch(0, 10)
        terms = method(student, teacher, batch)
        ce_weight = 0
    expected = ce_weight * ce + weight * terms[name]
    torch.testing.assert_close(terms["total"], expected)
    assert set(terms) == {name, "total"} | ({"ce"} if ce_weight else set())
    assert torch.equal(terms[name], method.terms[0](student, teacher, batch))


def test_two_terms_add_up_with_the_numbers_of_each():
    numbers = {"at": {"weight": 3.0}, "dkd": {"beta": 2.0, "weight": 0.5}}
    method, student, teacher, batch = ready("at+dkd", **numbers)
    terms = method(student, teacher, batch)
    at = sum(at_loss(s, t) for s, t in zip(student.maps[1:], teacher.maps[1:], strict=True))
    dkd = dkd_loss(student.logits, teacher.logits, batch.labels, beta=2.0)
    ce = F.cross_entropy(student.logits, batch.labels)
    torch.testing.assert_close(terms["total"], ce + 3 * at + 0.5 * dkd)
    assert method.plan() == {
        "at": {"weight": 3.0, "p": 2.0},
        "dkd": {"weight": 0.5, "alpha": 1.0, "beta": 2.0, "temperature": 4.0},
    }


def test_sskd_with_dkd_is_sskd_with_dkd_for_its_soft_targets_on_upright_views():
    recipe = Recipe()
    method, student, teacher, batch = ready("sskd+dkd")
    assert (method.needs.views, method.needs_projection, method.task) == (4, True, "contrastive")
    terms = method(student, teacher, batch)
    four = sskd_terms(student, teacher, batch.labels, recipe)
    dkd = dkd_loss(student.logits[:4], teacher.logits[:4], batch.labels)
    expected = recipe.ce * four["ce"] + recipe.kd * dkd + recipe.tf * four["tf"] + recipe.ss * four["ss"]
    torch.testing.assert_close(terms["total"], expected)
    assert set(terms) == {"ce", "tf", "ss", "dkd", "total"}


@pytest.mark.parametrize("base", ["kd", "ce"])
def test_a_feature_term_behind_a_base_leaves_its_terms(base):
    method, student, teacher, batch = ready(f"{base}+at")
    terms = method(student, teacher, batch)
    recipe = Recipe() if base == "kd" else Recipe(ce=1.0, kd=0.0)
    plain = create_method("kd", recipe)(student, teacher, batch)["total"]
    torch.testing.assert_close(terms["total"], plain + 1000 * terms["at"])


def test_a_pretext_method_is_kd_with_rotations_and_its_term():
    recipe = Recipe(tf=2.0)
    method = create_method("sskd-rotation", recipe, rotation={"temperature": 2.0})
    student, teacher = (random_output(16, seed, projection=(4,)) for seed in (1, 2))
    batch = Batch(LABELS[INDEX], INDEX)
    method.setup(student, teacher, LABELS)
    terms = method(student, teacher, batch)
    plain = create_method("kd+rotations", recipe)(student, teacher, batch)["total"]
    torch.testing.assert_close(terms["total"], plain + 2.0 * terms["rotation"])
    assert method.terms[0].temperature == 2.0 and method.plan()["rotation"]["weight"] == 2.0


def test_pretext_methods_join_other_terms():
    assert [term.name for term in create_method("sskd-rotation+at").terms] == ["rotation", "at"]
    method = create_method("sskd-jigsaw+dkd")
    assert method.needs == Needs(views=4, jigsaw=True) and method.recipe.kd == 0
    assert method.terms[1].weight == Recipe().kd
    assert create_method("hsakd+dkd").terms[1].weight == 1.0  # it has no L_kd that DKD could replace


@pytest.mark.parametrize("name", METHODS)
def test_the_forward_pass_that_a_method_needs(name):
    method = create_method(name)
    views = 4 if name in ("kd+rotations", "sskd", *PRETEXTS) else 1
    maps = "pre_relu" if name == "ab" else None
    if name in ("fitnet", "at", "sp", "vid", "ft", "nst", "fsp", "kdsvd", "simkd", "reviewkd", "hsakd"):
        maps = "post_relu"
    teacher_maps = "pre_relu" if name == "reviewkd" else maps
    assert method.needs == Needs(views, name == "sskd-jigsaw", maps, teacher_maps)
    assert method.needs_teacher == (name != "ce")
    assert method.name == name and (name in BASES or isinstance(method, Sum))


# ---- epochs and layers ---------------------------------------------------------------------------


def test_in_its_first_stage_a_term_has_weight_1():
    """FT's 200 is that of its later loss; the paraphraser's reconstruction diverges under it."""
    method, student, teacher, batch = ready("ft")
    method.begin_epoch(0, 10)
    terms = method(student, teacher, batch)
    assert set(terms) == {"ft", "total"}
    torch.testing.assert_close(terms["total"], method.terms[0].first_stage_loss(student, teacher, batch))


def test_the_weight_of_dkd_rises_over_its_first_epochs():
    method, student, teacher, batch = ready("dkd")
    shares = []
    for epoch in (0, 9, 19, 20, 239):  # 20 of 240, as published
        changed = method.begin_epoch(epoch, 240)
        assert changed == (epoch < 20)
        terms = method(student, teacher, batch)
        shares.append(((terms["total"] - terms["ce"]) / terms["dkd"]).item())
    assert shares == pytest.approx([1 / 20, 10 / 20, 1, 1, 1], abs=1e-5)


@pytest.mark.parametrize("name", ["ab", "fsp", "ft"])
def test_the_first_stage_is_an_eighth_of_the_epochs_and_one_at_least(name):
    method = create_method(name)
    for epochs, first in ((240, 30), (16, 2), (4, 1), (2, 1), (1, 0)):
        on = []
        for epoch in range(epochs):
            method.begin_epoch(epoch, epochs)
            on.append(method.first_stage)
        assert on == [True] * first + [False] * (epochs - first)


def test_first_weights_follow_the_seed_and_nothing_else():
    student, teacher = random_output(2, 1), random_output(2, 2)
    states = []
    for seed in (0, 0, 1):
        torch.rand(7)
        before = torch.random.get_rng_state()
        method = create_method("vid+cc")
        method.setup(student, teacher, LABELS, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), before)
        states.append(torch.cat([p.flatten() for p in method.parameters()]))
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


@pytest.mark.parametrize("name", ["fitnet", "vid", "ft", "reviewkd"])
def test_layers_compute_in_the_networks_format_and_the_loss_in_single_precision(name):
    formats, values = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        method, student, teacher, batch = ready(name)
        method.train()
        method.layer_format = {"device_type": "cpu", "dtype": dtype, "enabled": dtype == torch.bfloat16}
        seen = formats[dtype] = set()
        for layer in method.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.register_forward_hook(lambda layer, inputs, output, seen=seen: seen.add(output.dtype))
        values[dtype] = method(student, teacher, batch)[name]
        values[dtype].backward()
        assert values[dtype].dtype == torch.float32
        assert {p.grad.dtype for p in method.parameters() if p.grad is not None} == {torch.float32}
    assert formats == {torch.float32: {torch.float32}, torch.bfloat16: {torch.bfloat16}}
    torch.testing.assert_close(values[torch.bfloat16], values[torch.float32], rtol=0.03, atol=0)


def test_a_term_without_layers_is_computed_in_single_precision():
    """One that multiplies matrices: autocast would round them without a word."""
    seen = []

    class Likeness(Term):
        name, inputs = "likeness", "features"

        def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
            matrix = student_output.features @ teacher_output.features.T
            seen.append((matrix.dtype, torch.is_autocast_enabled("cpu")))
            return matrix.mean()

    method = Sum("kd+likeness", create_method("kd"), [Likeness(1.0)])
    method.layer_format = {"device_type": "cpu", "dtype": torch.bfloat16, "enabled": True}
    _, student, teacher, batch = ready("kd")
    assert set(method(student, teacher, batch)) == {"ce", "kd", "likeness", "total"}
    assert seen == [(torch.float32, False)]


def test_divergences_of_half_precision_logits_are_single():
    """As the heads for pretext tasks give them: only the logits were rounded."""
    s, t = (random_output(6, seed).logits.bfloat16() for seed in (1, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = kl_rows(s, t, 4.0)
    assert rows.dtype == torch.float32 and torch.equal(rows, kl_rows(s.float(), t.float(), 4.0))


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("dkdd", {}, "Did you mean 'dkd'"),
        ("sskd+", {}, "no method ''"),
        ("at+sskd", {}, "'sskd' can only come first"),
        ("at+hsakd", {}, "'hsakd' can only come first"),
        ("dkd+dist", {}, "one kind of soft targets"),
        ("at+at", {}, "each term can come once"),
        ("at+ab", {}, "before and after the ReLU"),
        ("hsakd+ab", {}, "student and teacher's maps before and after the ReLU"),
        ("at+reviewkd", {}, "the teacher's maps before and after the ReLU"),
        ("hsakd+reviewkd", {}, "the teacher's maps before and after the ReLU"),
        ("ab+reviewkd", {}, "the student's maps before and after the ReLU"),
        ("kd+simkd", {}, "Name simkd alone, or with terms that compare maps"),
        ("simkd+dkd", {}, "labels, soft targets or features would pull"),
        ("dkd", {"dkd": {"gamma": 1}}, "it has: weight, alpha, beta, temperature"),
        ("sskd", {"dkd": {"beta": 1}}, "no term dkd"),
    ],
)
def test_a_name_without_a_meaning_lists_those_that_have_one(name, numbers, message):
    with pytest.raises(ValueError, match=message):
        create_method(name, **numbers)


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("fsp", {}, "same width"),
        ("kdsvd", {}, "same width"),
        ("simkd", {}, "Join the student"),
        ("fitnet", {"stage": 7}, r"no stage 7.*0 \(the stem\) to 3"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused_in_setup(name, numbers, message):
    student, teacher = random_output(2, 1), random_output(2, 2, stages=((4, 8), (6, 8), (8, 4), (9, 2)))
    with pytest.raises(ValueError, match=message):
        create_method(name, **{name: numbers}).setup(student, teacher, LABELS)


@pytest.mark.parametrize("single", [(True, False), (False, True), (True, True)])
def test_networks_without_stages_are_refused_in_setup_or_give_a_term(single):
    """A network of one resolution has a single map, which counts as the stem's."""
    student, teacher = (
        random_output(4, seed, stages=((3, 4),) if alone else ((3, 4), (3, 4), (3, 4)))
        for seed, alone in enumerate(single)
    )
    refused, batch = {}, Batch(LABELS[INDEX], INDEX)
    for name in TERMS:
        method = create_method(name)
        try:
            method.setup(student, teacher, LABELS)
        except ValueError as error:
            refused[name] = str(error)
        else:
            method.begin_epoch(0, 1)
            assert method(student, teacher, batch)["total"].isfinite(), name
    assert set(refused) == {"fitnet", "at", "vid", "ab", "nst", "fsp", "kdsvd", "reviewkd"}
    for name in ("at", "vid", "ab", "nst", "reviewkd"):
        assert "there is no stage to compare" in refused[name]
    with pytest.raises(ValueError, match=r"the student has . stage map\(s\) and the teacher ."):
        create_method("hsakd").setup(student, teacher, LABELS)
