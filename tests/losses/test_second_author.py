"""Losses against torchdistill, which another author wrote from the same papers, in float64.

Where the conventions differ, the relation of the two values is tested. CRD draws its negatives in another way
there; torchdistill has no other of this kit's terms.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.outputs import normal
from sskd_lib.data.batch import Batch
from sskd_lib.losses import contrastive_loss, create_method, error_rank, sskd_terms
from sskd_lib.losses.ab import boundary_loss
from sskd_lib.losses.at import at_loss
from sskd_lib.losses.cc import congruence_loss
from sskd_lib.losses.dist import dist_loss
from sskd_lib.losses.fsp import fsp_matrix
from sskd_lib.losses.ft import ft_loss
from sskd_lib.losses.logit_std import standardised_kd_loss
from sskd_lib.losses.pairs import unit
from sskd_lib.losses.pkt import pkt_loss
from sskd_lib.losses.reviewkd import hcl_loss
from sskd_lib.losses.rkd import rkd_loss
from sskd_lib.losses.sp import sp_loss
from sskd_lib.losses.vid import vid_loss
from sskd_lib.models.network import Output
from sskd_lib.recipes import Recipe

theirs = pytest.importorskip("torchdistill.losses.mid_level")

TENSOR = ("x", "output")  # where a loss of theirs finds its tensor
PAIR = {"pair": {who: {"path": "x", "io": "output"} for who in ("student", "teacher")}}
LABELS = torch.tensor([2, 0, 4, 1, 8, 3])
LOGITS = normal(6, 9, seed=1) * 3, normal(6, 9, seed=2) * 3
FEATURES = normal(6, 4, seed=3), normal(6, 7, seed=4)
MAPS = normal(6, 3, 8, 8, seed=5), normal(6, 3, 8, 8, seed=6)
VARIANCE = torch.tensor([0.5, 2.0, 1.3], dtype=torch.float64)


def call(loss: Any, student: Any, teacher: Tensor, *targets: Tensor) -> Tensor:
    return loss({"x": {"output": student}}, {"x": {"output": teacher}}, *targets)


def equal(value: Tensor, other: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(value, other, rtol=tolerance, atol=0)


def test_soft_targets():
    recipe = Recipe(ce=0.1, kd=0.9, kd_temperature=4.0)
    total = create_method("kd", recipe)(*map(Output, LOGITS), Batch(LABELS))["total"]
    equal(total, call(theirs.KDLoss(*TENSOR, *TENSOR, temperature=4.0, alpha=0.1), *LOGITS, LABELS))
    other = theirs.DISTLoss(*TENSOR, *TENSOR, beta=2, gamma=3, tau=4)
    equal(dist_loss(*LOGITS, beta=2, gamma=3, temperature=4), call(other, *LOGITS), 1e-6)  # 10⁻⁸ in lengths
    terms = create_method("dist")(*map(Output, LOGITS), Batch(LABELS))  # published for CIFAR-100: 2, τ = 4
    other = 2 * call(theirs.DISTLoss(*TENSOR, *TENSOR, beta=1, gamma=1, tau=4), *LOGITS)
    equal(terms["total"] - terms["ce"], other, 1e-6)
    # τ² is left out, and 10⁻⁷ added to the standard deviation
    other = theirs.LogitStdKDLoss(*TENSOR, *TENSOR, temperature=2.0, alpha=0)
    equal(standardised_kd_loss(*LOGITS, temperature=2.0), 4 * call(other, *LOGITS), 1e-6)


def test_relations_of_features():
    equal(rkd_loss(*FEATURES), call(theirs.RKDLoss("x", "x", 25.0, 50.0, "mean"), *FEATURES), 1e-9)
    equal(pkt_loss(*FEATURES), call(theirs.PKTLoss(*TENSOR, *TENSOR), *FEATURES), 1e-5)  # 10⁻⁷ in lengths
    # CC of the paper: features are not normalised there, and the norm of the matrix is not squared
    other = theirs.CCKDLoss("x", "x", {"type": "gaussian", "gamma": 0.4, "max_p": 2}, "batchmean")
    equal(congruence_loss(*FEATURES), 36 * call(other, *map(unit, FEATURES)).square(), 1e-9)


def test_maps():
    equal(at_loss(*MAPS), call(theirs.ATLoss(PAIR, mode="code"), *MAPS))
    equal(boundary_loss(*MAPS), call(theirs.AltActTransferLoss(PAIR, 1.0, "mean"), *MAPS))
    equal(hcl_loss(*MAPS), call(theirs.HierarchicalContextLoss(*TENSOR, *TENSOR), (MAPS[0], None), MAPS[1]))
    guess = MAPS[0], VARIANCE.view(3, 1, 1).expand_as(MAPS[0])
    equal(vid_loss(MAPS[0], VARIANCE, MAPS[1]), call(theirs.VIDLoss(PAIR), guess, MAPS[1]))
    # FT: the factor itself is normalised there, as in the paper; here its attention map
    attention = [m.square().mean(1) for m in MAPS]
    equal(ft_loss(*MAPS), call(theirs.FTLoss(paraphraser_path="x", translator_path="x"), *attention))
    # FSP: maximum pooling, and the norm of the difference; the matrix of two stages of one size is the same
    upper = normal(6, 5, 8, 8, seed=7)
    equal(fsp_matrix(MAPS[0], upper), theirs.FSPLoss.compute_fsp_matrix(MAPS[0], upper))
    # SP: rows of G have Σ |G_ij| = 1 there, here length 1
    rows = [unit(theirs.SPKDLoss("x", "x", "batchmean").matmul_and_normalize(m)) for m in MAPS]
    equal(sp_loss(*MAPS), (rows[0] - rows[1]).square().mean())


def sskd_outputs(images: int = 5, classes: int = 70) -> tuple[Output, Output, Tensor]:
    """The teacher is right on every other row, and its ranks of the true class differ on the others."""
    student, teacher = (
        Output(normal(4 * images, classes, seed=seed), normal(4 * images, 8, seed=seed + 1))
        for seed in (1, 5)
    )
    labels = torch.arange(images)
    teacher.logits[torch.arange(4 * images), labels.repeat(4)] += torch.tensor([9.0, 0.0]).repeat(2 * images)
    return student, teacher, labels


def interleaved(output: Output) -> Output:
    """The views of an image one after the other, as in the published code."""
    rows = torch.arange(len(output.logits)).view(4, -1).T.flatten()
    return output.each(lambda part: part[rows])


@pytest.mark.parametrize(("tf", "ss"), [(1.0, 1.0), (0.0, 0.0), (0.3, 1.0)])
def test_sskd(tf, ss):
    """Between 0 and 1 only where no two wrong rows have one rank: the published sort is not stable."""
    student, teacher, labels = sskd_outputs()
    ranks = error_rank(teacher.logits[5:], labels.repeat(3))
    assert len(ranks[ranks > 0].unique()) == (ranks > 0).sum() > 0 and (ranks == 0).any()
    recipe = Recipe(tf_keep_wrong=tf, ss_keep_wrong=ss)
    temperatures = recipe.kd_temperature, recipe.ss_temperature, recipe.tf_temperature
    weights = [recipe.ce, recipe.kd, recipe.ss, recipe.tf]
    other = theirs.SSKDLoss("logits", "logits", "z", "z", *temperatures, ss, tf, loss_weights=weights)
    rows = [
        {"logits": {"output": output.logits}, "z": {"output": output.projection}}
        for output in map(interleaved, (student, teacher))
    ]
    equal(sskd_terms(student, teacher, labels, recipe)["total"], other(*rows, labels))


def test_the_task_of_the_teachers_head():
    _, teacher, labels = sskd_outputs()
    value = theirs.AuxSSKDLoss("x")({}, {"x": {"output": interleaved(teacher).projection}})
    equal(contrastive_loss(teacher.projection, len(labels))[0], value)
