"""Tables and figures of notebook 01: gradients, similar classes, students beside their teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data.images import ImageSet
from ..evaluation import agreement, calibration_error, interval
from ..losses import kd_loss, soften
from ..models.network import Output
from .curves import line_figure
from .few_labels import IMAGES, recorded
from .plots import image_grid, matrix_heatmap
from .startup import Lab

TEMPERATURES = (0.5, 1, 2, 4, 8, 16, 32, 64)
MANY = 20  # classes; of more, those with the most similar partners are drawn
SECOND = 0.15  # probability of the second class in the images that are shown


def same_label_pair(logits: Tensor, labels: Tensor) -> tuple[int, int]:
    """Return two images of one class that the teacher gets right, with different second classes.

    logits: float [M, K]; labels: int [M]. The second class of each has about 15 %.
    """
    p = soften(logits, 1.0)
    values, order = p.topk(2)
    distance = (values[:, 1] - SECOND).abs()
    distance[order[:, 0] != labels] = math.inf
    one = int(distance.argmin())
    distance[(labels != labels[one]) | (order[:, 1] == order[one, 1])] = math.inf
    return one, int(distance.argmin())


def doubtful_images(logits: Tensor, labels: Tensor, first: int) -> list[int]:
    """Return `first`, then three images per class: two that the teacher doubts, and one in the middle."""
    doubt = soften(logits, 1.0).amax(1).argsort().tolist()  # least sure first
    chosen = [first]
    for k in labels.unique().tolist():
        mine = [i for i in doubt if labels[i] == k and i != first]
        chosen += [mine[len(mine) * tenth // 10] for tenth in (0, 1, 4)]
    return chosen


def kd_gradient(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """Return the gradient of the KD loss by the student's logits, by autograd: float [M, K] as the logits."""
    leaf = student.clone().requires_grad_()
    kd_loss(leaf, teacher, tau).backward()
    assert leaf.grad is not None
    return leaf.grad


def gradient_over_temperature(student: Tensor, teacher: Tensor) -> tuple[Figure, str]:
    """Draw the size of the KD gradient over temperature, with and without τ², and return it in words.

    student, teacher: logits, float [M, K]. Size: sum over classes of |∂L/∂s_k|, mean over images.
    """
    sizes = [kd_gradient(student, teacher, tau).abs().sum().item() for tau in TEMPERATURES]
    lines = {
        "with τ²": sizes,
        "without τ²": [size / tau**2 for size, tau in zip(sizes, TEMPERATURES, strict=True)],
    }
    last = lines["without τ²"][-1]
    lines["straight line: 1/τ²"] = [last * (TEMPERATURES[-1] / tau) ** 2 for tau in TEMPERATURES]
    figure = line_figure(TEMPERATURES, lines, "temperature τ", "size of the gradient", logarithmic=True)
    at = dict(zip(TEMPERATURES, sizes, strict=True))
    steps = [
        f"{a} → {b}: × {at[b] / at[a]:.2f} with τ², × {at[b] / at[a] * a**2 / b**2:.3f} without"
        for a, b in ((1, 4), (4, 8), (8, 16), (16, 32))
    ]
    return figure, "Size of the gradient from one temperature to another.\n" + "\n".join(steps)


def mean_soft_outputs(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean softened output (τ = 4) of the images of each class: [K, K], nan on the diagonal."""
    soft = soften(logits, 4.0)
    table = torch.stack([soft[labels == k].mean(0) for k in range(classes)])
    return table.fill_diagonal_(float("nan"))


def class_similarities(logits: Tensor, labels: Tensor, images: ImageSet) -> tuple[Figure, str]:
    """Draw the mean softened output (τ = 4) of each class's images, and name the most similar classes.

    logits: float [M, K]; labels: int [M]; images: gives the names of the classes.
    """
    names = images.classes
    table = mean_soft_outputs(logits, labels, len(names))
    pairs = sorted(
        ((float(table[a, b] + table[b, a]) / 2, a, b) for a in range(len(names)) for b in range(a)),
        reverse=True,
    )
    lines = [
        f"{what:13} {names[a]} ↔ {names[b]}: {100 * value:.1f} %"
        for what, part in (("most similar", pairs[:4]), ("least similar", pairs[-2:]))
        for value, a, b in part
    ]
    a, b = divmod(int((table / table.T).nan_to_num().argmax()), len(names))  # the largest ratio
    lines.append(
        f"most one-sided {names[a]} → {names[b]} {100 * table[a, b]:.1f} %, back {100 * table[b, a]:.1f} %"
    )
    shown = list(range(len(names)))
    if len(names) > MANY:
        shown = sorted(list(dict.fromkeys(k for _, *pair in pairs for k in pair))[:12])
    figure = matrix_heatmap(
        100 * table[shown][:, shown],
        [names[k] for k in shown],
        title="Mean softened output, τ = 4 (%)",
        xlabel="probability the teacher gives to",
        ylabel="images of the class",
    )
    return figure, "Mean softened outputs by class.\n" + "\n".join(lines)


def student_figures(logits: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, agreement, distance, confidence and calibration error: in %, the distance in nats.

    logits, teacher: float [M, K]; labels: int [M]. The distance is the mean KL(teacher ‖ student) at τ = 1.
    """
    return {
        "accuracy": 100 * float((logits.argmax(1) == labels).float().mean()),
        "agreement": agreement(logits, teacher),
        "distance": float(kd_loss(logits, teacher, 1.0)),
        "confidence": 100 * float(soften(logits, 1.0).amax(1).mean()),
        "calibration error": calibration_error(logits, labels),
    }


def student_table(kit: Lab, students: Mapping[str, Output], teacher: Output) -> str:
    """Return a table of students beside their teacher, and the paired difference of the last two.

    students: name → outputs for the test images.
    """
    labels, rows = kit.test.labels, {"teacher": teacher.logits}
    rows |= {name: output.logits for name, output in students.items()}
    heads = f"{'accuracy':>10}{'agreement':>11}{'distance':>10}{'confidence':>12}{'calibration error':>19}"
    lines = [f"{'':9}{heads}"]
    for name, logits in rows.items():
        row = student_figures(logits, teacher.logits, labels)
        columns = ("8.2f", "9.2f", "10.3f", "10.2f", "17.2f")
        figures = [
            f"{value:{form}}" + ("" if what == "distance" else " %")
            for (what, value), form in zip(row.items(), columns, strict=True)
        ]
        lines.append(f"{name:9}" + "".join(figures))
    a, b = (rows[name].argmax(1) == labels for name in list(rows)[-2:])
    mean, half = interval((100.0 * (b.float() - a.float())).tolist())
    lines.append(
        f"{list(rows)[-1]} minus {list(rows)[-2]}, accuracy: {mean:+.2f} ± {half:.2f} points "
        f"(95 %, over the {len(labels)} test images)"
    )
    return "\n".join(lines)


def recorded_kd_gain() -> str:
    """Return what recorded runs of 240 epochs say of KD minus CE, seed by seed."""
    lines = []
    for setting, name in IMAGES.items():
        runs = recorded(setting, 240)
        last = {method: [run[-1]["test_accuracy"] for run in runs[method]] for method in ("ce", "kd")}
        gain = [b - a for a, b in zip(last["ce"], last["kd"], strict=True)]
        levels = {method: sum(values) / len(values) for method, values in last.items()}
        lines.append(
            f"{name}, 240 epochs, {len(gain)} seeds: CE {levels['ce']:.1f} %, KD {levels['kd']:.1f} %, "
            "KD minus CE {:+.2f} ± {:.2f}".format(*interval(gain))
        )
    return "\n".join(lines)


def same_group(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Return which other classes are in the group of each image's label, bool [M, K], and each class's group.

    Raises ValueError for images without coarse classes.
    """
    if images.coarse is None:
        raise ValueError(f"{images.name} has no coarse classes; load_images('grocery') has.")
    names, labels = sorted(set(images.coarse)), images.labels.cpu()
    group = torch.tensor([names.index(name) for name in images.coarse])
    same = group[labels][:, None] == group[None]
    same[torch.arange(len(labels)), labels] = False
    return same, group


def share_in_group(logits: Tensor, images: ImageSet) -> Tensor:
    """Return how much of the probability outside the label goes to the label's group: float [M] in [0, 1].

    logits: float [M, K], softened at τ = 1; images: with `coarse` names. Errors: see `same_group`.
    """
    p, labels = soften(logits, 1.0), images.labels.cpu()
    rest = 1 - p[torch.arange(len(labels)), labels]
    return (p * same_group(images)[0]).sum(1) / rest.clamp(min=1e-12)


def coarse_knowledge(logits: Tensor, images: ImageSet) -> tuple[Figure, str]:
    """Show what a teacher says of classes that belong to one larger class, such as the apples.

    Photographs with the teacher's first three classes (τ = 4), one for each of the largest groups; and how
    much of its probability outside the label goes to classes of the same group, beside an even spread.
    logits: float [M, K]; images: with `coarse` names. Raises ValueError without them.
    """
    same, group = same_group(images)
    names, labels = sorted(set(images.coarse or ())), images.labels.cpu()
    has, even = same.any(1), same.float().sum(1) / (same.shape[1] - 1)
    inside = share_in_group(logits, images)
    wrong = has & (logits.argmax(1) != labels)
    among = (group[logits.argmax(1)] == group[labels])[wrong]
    fine, coarse = logits.argmax(1) == labels, group[logits.argmax(1)] == group[labels]
    levels = (100 * part.float().mean() for part in (fine, coarse))
    words = (
        f"{images.name}: {len(images.classes)} classes in {len(names)} groups; the teacher names the "
        "class of {:.1f} % of the images, the group of {:.1f} %\n".format(*levels)
        + f"probability outside the label, τ = 1: {100 * inside[has].mean():.0f} % goes to the same group "
        f"(even spread: {100 * even[has].mean():.0f} %)\n"
        f"wrong answers: {100 * among.float().mean():.0f} % are in the same group "
        f"(blind: {100 * even[wrong].mean():.0f} %)"
    )
    longest = [max(len(images.classes[k]) for k in (group == g).nonzero()) for g in range(len(names))]
    sizes = torch.bincount(group) - 100 * (torch.tensor(longest) > 16).long()  # long names do not fit
    shown, soft = [], soften(logits, 4.0)
    for k in sizes.argsort(descending=True)[:5].tolist():
        mine = has & fine & (group[labels] == k)
        shown.append(int(torch.where(mine, inside, torch.tensor(-1.0)).argmax()))
    titles = []
    for i in shown:
        first = zip(*(part.tolist() for part in soft[i].topk(3)), strict=True)
        rows = (f"{100 * value:.0f} % {images.classes[k]}" for value, k in first)
        titles.append("\n".join([images.classes[labels[i]], *rows]))
    return image_grid(images.images[shown], titles, columns=5), words
