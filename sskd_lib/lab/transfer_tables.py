"""Tables and figures of notebook 04: what is kept, what pulls, and what recorded runs say of the gain."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data.images import ImageSet
from ..data.views import four_views
from ..evaluation import interval
from ..losses import selected_kl, sskd_terms, transfer_mask
from ..models.network import Network
from ..recipes import PRESETS, Recipe
from ..training.train import create_network
from .comparison.evidence import last_and_best
from .comparison.statistics import minus
from .curves import mark_figure
from .demonstrations import short_runs
from .few_labels import IMAGES, recorded
from .startup import Lab
from .time_machine_data import TERM_NAMES, TERMS

LENGTHS = {"fashion": (60, 240, 480), "cifar10": (30, 60, 240)}


def kept_losses(
    student_scores: Tensor, teacher_scores: Tensor, columns: Tensor, tau: float
) -> dict[float, tuple[int, float, float]]:
    """Return, for shares of wrong rows kept: rows, loss, and norm of its gradient on student_scores.

    student_scores, teacher_scores: float [N, C]; columns: int [N], the right ones; tau: temperature.
    """
    results = {}
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        leaf = student_scores.double().requires_grad_()
        keep = transfer_mask(teacher_scores, columns, share)
        loss = selected_kl(leaf, teacher_scores.double(), tau, keep)
        norm = torch.autograd.grad(loss, leaf)[0].norm().item()
        results[share] = int(keep.sum()), loss.item(), norm
    return results


def selection_table(
    name: str, student_scores: Tensor, teacher_scores: Tensor, columns: Tensor, tau: float
) -> str:
    """Return the numbers of `kept_losses` as a table; name: of the term."""
    lines = [f"{name:>5} {'share kept':>11} {'rows':>5} {'loss':>9} {'norm':>9} {'norm · √n':>10}"]
    for share, (rows, loss, norm) in kept_losses(student_scores, teacher_scores, columns, tau).items():
        numbers = f"{rows:5} {loss:9.5f} {norm:9.5f} {norm * rows**0.5:10.5f}"
        lines.append(f"{'':5} {100 * share:9.0f} % {numbers}")
    return "\n".join(lines)


def preset_table() -> str:
    """Return a table of the published weights and shares, one line per preset."""
    head = (
        f"{'preset':>14} {'λ_ce':>6} {'λ_kd':>6} {'λ_T':>6} {'λ_ss':>6} {'kept, L_T':>10} {'kept, L_ss':>11}"
    )
    lines = [head]
    for name, preset in PRESETS.items():
        weights = f"{preset.ce:6g} {preset.kd:6g} {preset.tf:6g} {preset.ss:6g}"
        lines.append(f"{name:>14} {weights} {preset.tf_keep_wrong:10g} {preset.ss_keep_wrong:11g}")
    return "\n".join(lines)


def pulls(kit: Lab, student: Network, images: ImageSet, recipe: Recipe) -> dict[str, float]:
    """Return the norm of each weighted term's gradient on the student's backbone, for one batch."""
    views = four_views(images.images, torch.Generator().manual_seed(0)).to(kit.runtime.device)
    with torch.no_grad():
        teacher_output = kit.runtime.run(kit.teacher(), views)
    labels, student = images.labels.to(kit.runtime.device), kit.runtime.place(student).train()
    terms = sskd_terms(kit.runtime.run(student, views), teacher_output, labels, recipe)
    parameters, norms = list(student.backbone.parameters()), {}
    for name in TERMS:
        weighted = getattr(recipe, name) * terms[name]
        grads = torch.autograd.grad(weighted, parameters, retain_graph=True, allow_unused=True)
        norms[name] = math.sqrt(sum(g.float().square().sum().item() for g in grads if g is not None))
    return norms


def pull_shares(kit: Lab, images: ImageSet, recipe: Recipe) -> tuple[Figure, str]:
    """Draw each term's share of the weights and of the gradients, and return the same in words.

    Of a student before training and of the shipped SSKD student, on one batch.
    """
    fresh = create_network("resnet8", like=kit.train, projection=True, seed=0)
    rows = {"weight λ": {name: getattr(recipe, name) for name in TERMS}}
    for who, student in (("untrained student", fresh), ("SSKD student", kit.student("sskd"))):
        rows[f"gradient, {who}"] = pulls(kit, student, images, recipe)
    shares = {what: [100 * v / sum(row.values()) for v in row.values()] for what, row in rows.items()}
    figure = mark_figure(list(TERM_NAMES.values()), shares, "share of the sum (%)")
    words = "; ".join(
        f"{what}: "
        + ", ".join(f"{TERM_NAMES[name]} {v:.0f} %" for name, v in zip(TERMS, values, strict=True))
        for what, values in shares.items()
    )
    return figure, f"Share of each term in the sum. {words}."


def recorded_differences() -> list[tuple[str, str, list[float], list[float]]]:
    """Return (images, schedule, SSKD − KD, SSKD − (KD + rotations)) of the recorded runs, seed by seed.

    The short schedule first, then the published one at several lengths.
    """
    table = [(IMAGES["fashion"], "short", short_runs())]
    table.append((IMAGES["fashion"].replace("300", "100"), "short, 54 epochs", short_runs("fashion-100")))
    for setting, lengths in LENGTHS.items():
        name = IMAGES[setting]
        for epochs in lengths:
            runs, _best = last_and_best(recorded(setting, epochs))
            table.append((name, f"published, {epochs} epochs", runs))
    return [
        (name, schedule, minus(runs["sskd"], runs["kd"]), minus(runs["sskd"], runs["kd+rotations"]))
        for name, schedule, runs in table
    ]


def recorded_gaps() -> str:
    """Return the differences of `recorded_differences` as a table of means with 95 % intervals."""
    head = f"{'images':26} {'schedule':22} {'seeds':>5} {'SSKD − KD':>16} {'SSKD − (KD + rotations)':>25}"
    lines = [head]
    for name, schedule, *differences in recorded_differences():
        over_kd, over_rotations = ("{:+.2f} ± {:.2f}".format(*interval(d)) for d in differences)
        lines.append(f"{name:26} {schedule:22} {len(differences[0]):5} {over_kd:>16} {over_rotations:>25}")
    return "\n".join(lines)
