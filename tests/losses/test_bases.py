"""The methods ce, kd, kd+rotations and sskd: names, needs, and sums of their terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sskd_lib.losses import BASES, METHODS, Batch, create_method, sskd_terms
from sskd_lib.models.network import Output
from sskd_lib.recipes import PRESETS, Recipe


def outputs(b: int, seed: int = 0) -> tuple[Output, Output, Batch]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        Output(torch.randn(4 * b, 5, generator=generator), torch.randn(4 * b, 3, generator=generator))
        for _ in range(2)
    )
    return student, teacher, Batch(labels=torch.randint(5, (b,), generator=generator))


def test_method_names_and_needs():
    needs = {
        name: (method.needs.views, method.needs_teacher, method.needs_projection)
        for name in BASES
        for method in [create_method(name)]
    }
    assert needs == {
        "ce": (1, False, False),
        "kd": (1, True, False),
        "kd+rotations": (4, True, False),
        "sskd": (4, True, True),
    }
    assert all(create_method(name).name == name for name in METHODS)
    assert not create_method("sskd", Recipe(ss=0)).needs_projection


@pytest.mark.parametrize(
    ("name", "hint"),
    [("skd", " Did you mean 'sskd'?"), ("kd_rotations", " Did you mean 'kd+rotations'?"), ("x", "")],
)
def test_an_unknown_method_is_answered_with_the_names(name, hint):
    with pytest.raises(ValueError, match="there is no method") as caught:
        create_method(name)
    start = f"there is no method '{name}'.{hint} The methods are: ce, kd, kd+rotations, sskd, fitnet, "
    assert str(caught.value).startswith(start)
    assert all(known in str(caught.value) for known in METHODS)


def test_ce_is_the_cross_entropy_whatever_the_recipe():
    student, _, _ = outputs(1)
    labels = torch.tensor([0, 1, 2, 3])
    terms = create_method("ce", Recipe(ce=0.3))(student, None, Batch(labels=labels))
    logits = student.logits.double().numpy()
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(probabilities[np.arange(4), labels]).mean()
    assert list(terms) == ["ce", "total"]
    assert terms["ce"].item() == pytest.approx(expected, rel=1e-6)
    assert terms["total"] is terms["ce"]


def test_kd_sums_labels_and_soft_targets():
    student, teacher, _ = outputs(1)
    labels = torch.tensor([0, 1, 2, 3])
    recipe = Recipe(ce=0.3, kd=0.6, kd_temperature=2.0)
    terms = create_method("kd", recipe)(student, teacher, Batch(labels=labels))
    assert list(terms) == ["ce", "kd", "total"]
    s, t = (np.exp(o.logits.double().numpy() / 2.0) for o in (student, teacher))
    s, t = s / s.sum(1, keepdims=True), t / t.sum(1, keepdims=True)
    assert terms["kd"].item() == pytest.approx(4 * (t * np.log(t / s)).sum() / 4, rel=1e-5)
    assert terms["total"].item() == pytest.approx(0.3 * terms["ce"].item() + 0.6 * terms["kd"].item())


def test_kd_with_rotations_is_sskd_without_ss():
    student, teacher, batch = outputs(3)
    method = create_method("kd+rotations", PRESETS["arxiv"])
    assert method.recipe == replace(PRESETS["arxiv"], ss=0.0)
    bare = Output(student.logits), Output(teacher.logits)
    terms = method(*bare, batch)
    full = create_method("sskd", PRESETS["arxiv"])(student, teacher, batch)
    assert list(terms) == ["ce", "kd", "tf", "total"]
    assert list(full) == ["ce", "kd", "tf", "ss", "total"]
    assert all(terms[name] == full[name] for name in ("ce", "kd", "tf"))
    assert terms["total"].item() == pytest.approx((full["total"] - 2.7 * full["ss"]).item(), rel=1e-5)


def test_sskd_uses_the_recipe_it_was_made_with():
    student, teacher, batch = outputs(4)
    for name, recipe in PRESETS.items():
        terms = create_method("sskd", recipe)(student, teacher, batch)
        expected = sskd_terms(student, teacher, batch.labels, recipe)
        assert all(terms[term] == expected[term] for term in expected), name
        weighted = sum(getattr(recipe, term) * terms[term].item() for term in ("ce", "kd", "tf", "ss"))
        assert terms["total"].item() == pytest.approx(weighted, rel=1e-6)
    default = create_method("sskd")(student, teacher, batch)["total"]
    assert default == create_method("sskd", PRESETS["official-code"])(student, teacher, batch)["total"]
