"""Why does L_ss add so little? Six measurements on teachers and students, one row per number.

    python benchmarks/why.py run                              # Fashion-MNIST, 300 labels; about ten minutes
    python benchmarks/why.py run --hundred folder:PATH        # and the 100 classes (after claims.py)
    python benchmarks/why.py table                            # prints the record, trains nothing

gradient: the norm of each weighted term's gradient in the student's backbone as a share of the sum of all
    four norms, and the cosine of L_ss's gradient with that of the others together, in the course of training
nats: how far a softened row of soft targets, and of the matrix, is from an even spread (mean KL)
explained: the share of the variance of the teacher's matrix (pairs of different images, test images) that a
    map to projections explains, fitted on training images: from the teacher's logits (linear, two layers),
    from a student's features (linear)
head: the correlation between the matrices of the trained head, of heads with random weights, and of the
    features themselves (pairs of different images)
task: the share of rotated views that find their own upright image among 64 or fewer, by the projections of
    trained and other heads, and by features; test images
match: L_ss on test images of students trained without it, once a head is fitted to their frozen features
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

import sskd_lib as sskd
from sskd_lib.data.views import four_views
from sskd_lib.evaluation import interval
from sskd_lib.lab.claims.plan import read_plan
from sskd_lib.lab.claims.reasons import REASONS
from sskd_lib.lab.claims.rows import read_rows
from sskd_lib.lab.claims.trainings import Sources, fresh_head, images_of
from sskd_lib.losses.sskd import image_of_row, similarity_matrix, sskd_terms
from sskd_lib.models.heads import two_layers

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (200, 201, 202, 203, 204)
Given = dict[str, Tensor]  # logits, features, projection: [batches, 4B, …]
BATCH = 64  # images of a matrix
FIT = 2560  # training images to which maps and heads are fitted
EVERY = 5  # epochs between two measurements of the gradients
FEWER = (8, 16, 32, 64)  # images among which a rotated view looks for its own
TERMS = ("ce", "kd", "tf", "ss")


def views_of(network: sskd.Network, images: Tensor) -> sskd.Output:
    """Return the outputs for the four views of some images, without augmentation, in eval mode: 4B rows."""
    with torch.no_grad():
        return network.eval()(four_views(images, None, False))


def matrices(projections: Tensor) -> Tensor:
    """Return the matrices of all batches: projections [batches, 4B, D] → [batches, 3B, B]."""
    return torch.stack([similarity_matrix(z[BATCH:], z[:BATCH]) for z in projections])


def outputs_of(network: sskd.Network, images: Tensor) -> Given:
    """Return logits, features and projections of batches of 64 images: [batches, 4B, …] each."""
    parts = [views_of(network, chunk) for chunk in images.split(BATCH) if len(chunk) == BATCH]
    names = ("logits", "features", "projection")
    return {
        name: torch.stack([getattr(part, name) for part in parts])
        for name in names
        if getattr(parts[0], name) is not None
    }


def gradient_rows(student: sskd.Network, teacher: sskd.Network, data: sskd.ImageSet) -> dict[str, float]:
    """Return shares and the cosine of the terms' gradients in a copy of a student, on 64 labelled images."""
    student, recipe = copy.deepcopy(student).train(), sskd.Recipe()
    views = four_views(data.images[:BATCH], torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = teacher.eval()(views)
    terms = sskd_terms(student(views), answers, data.labels[:BATCH], recipe)
    weights = list(student.backbone.parameters())
    gradients = {}
    for name in TERMS:
        parts = torch.autograd.grad(
            getattr(recipe, name) * terms[name], weights, retain_graph=True, allow_unused=True
        )
        parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, parts, strict=True)]
        gradients[name] = torch.cat([part.flatten() for part in parts])
    norms = {name: gradient.norm().item() for name, gradient in gradients.items()}
    others = gradients["ce"] + gradients["kd"] + gradients["tf"]
    shares = {f"share {name}": norm / sum(norms.values()) for name, norm in norms.items()}
    return shares | {"cosine": F.cosine_similarity(gradients["ss"], others, dim=0).item()}


def nats(given: Given) -> dict[str, float]:
    """Return the mean KL to an even spread of the softened rows: soft targets, rotated ones, the matrix."""
    recipe, logits = sskd.Recipe(), given["logits"]

    def gap(scores: Tensor, temperature: float) -> float:
        log_p = F.log_softmax(scores.flatten(0, -2) / temperature, 1)
        return (np.log(scores.shape[-1]) + (log_p.exp() * log_p).sum(1)).mean().item()

    return {
        "soft targets": gap(logits[:, :BATCH], recipe.kd_temperature),
        "soft targets, rotated": gap(logits[:, BATCH:], recipe.tf_temperature),
        "matrix": gap(matrices(given["projection"]), recipe.ss_temperature),
    }


def explained(inputs: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor], layers: int) -> float:
    """Return R² of the matrix off its diagonal, after a map from inputs to projections fitted on the first.

    inputs, targets: each (training, test), [batches, 4B, width]. The map is a ridge regression, or a network
    with one hidden layer (layers = 2). The matrix of predicted projections is scaled and shifted to fit best.
    """
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = (pair[0].flatten(0, 1).numpy() for pair in (inputs, (F.normalize(targets[0], dim=-1),)))
    model = Ridge() if layers == 1 else MLPRegressor(hidden_layer_sizes=(256,), max_iter=60, random_state=0)
    mapped = make_pipeline(StandardScaler(), model).fit(x, y).predict(inputs[1].flatten(0, 1).numpy())
    guess = matrices(torch.from_numpy(mapped).float().view(*inputs[1].shape[:2], -1))
    return correlation(guess, matrices(targets[1])) ** 2


def fitted_head(inputs: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> float:
    """Return L_ss on test images of a student whose backbone is frozen and whose new head was fitted to it.

    inputs: the student's features; targets: the teacher's projections; each (training, test).
    """
    width = inputs[0].shape[-1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = two_layers(width, width)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(30):
        for f, z in zip(inputs[0], targets[0], strict=True):
            optimizer.zero_grad()
            term_ss(head(f), z).backward()
            optimizer.step()
    with torch.no_grad():
        held = zip(inputs[1], targets[1], strict=True)
        return statistics.fmean(term_ss(head(f), z).item() for f, z in held)


def task_accuracy(vectors: Tensor, among: int = BATCH) -> float:
    """Return the share of rotated views whose most similar upright image, of so many, is their own.

    vectors: projections or features, [batches, 4B, D]. Images that do not fill a last batch are left out.
    """
    views = vectors.unflatten(1, (4, BATCH)).transpose(0, 1).flatten(1, 2)  # [4, images, D]
    own = image_of_row(3 * among, among)
    parts = (part for part in views.split(among, dim=1) if part.shape[1] == among)
    hits = [similarity_matrix(part[1:].flatten(0, 1), part[0]).argmax(1) == own for part in parts]
    return torch.cat(hits).double().mean().item()


def term_ss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return L_ss of one batch of projections [4B, D]."""
    blank, labels = torch.zeros(len(student), 2), torch.zeros(BATCH, dtype=torch.long)
    outputs = (sskd.Output(blank, z) for z in (student, teacher))
    return sskd_terms(*outputs, labels, sskd.Recipe(ce=0, kd=0, tf=0, ss=1))["ss"]


def correlation(a: Tensor, b: Tensor) -> float:
    """Return the correlation of the entries of two sets of matrices, pairs of different images alone."""
    same = (torch.arange(3 * BATCH) % BATCH)[:, None] == torch.arange(BATCH)
    return torch.corrcoef(torch.stack([a[:, ~same].flatten(), b[:, ~same].flatten()]).double())[0, 1].item()


def of_teacher(
    place: str, teacher: sskd.Network, pool: sskd.ImageSet, fit: Given, held: Given
) -> Iterator[dict]:
    """Yield the rows that need no student. fit, held: the teacher's outputs on training and test images."""
    for what, value in nats(held).items():
        yield {"place": place, "kind": "nats", "what": what, "value": value}
    targets = fit["projection"], held["projection"]
    for name, layers, words in (
        ("logits", 1, "teacher's logits, linear"),
        ("logits", 2, "teacher's logits, two layers"),
        ("features", 1, "teacher's features, linear"),
    ):
        value = explained((fit[name], held[name]), targets, layers)
        yield {"place": place, "kind": "explained", "what": words, "value": value}
    row = {"place": place, "kind": "task"}
    for among in FEWER:
        value = task_accuracy(held["projection"], among)
        yield {**row, "what": f"teacher, trained head, among {among}", "value": value}
    value = task_accuracy(held["features"])
    yield {**row, "what": f"teacher's features, no head, among {BATCH}", "value": value}
    true, plain = matrices(held["projection"]), matrices(held["features"])
    row = {"place": place, "kind": "head"}
    yield {**row, "what": "trained head and the features themselves", "value": correlation(true, plain)}
    for seed in SEEDS:
        fresh = sskd.create_network(teacher.spec["model"], like=pool, projection=True, seed=seed)
        with torch.no_grad():
            projection = fresh.head(held["features"])
        what = f"teacher, random head, among {BATCH}"
        yield {**row, "kind": "task", "what": what, "seed": seed, "value": task_accuracy(projection)}
        other = matrices(projection)
        for what, matrix in (("trained head", true), ("the features themselves", plain)):
            value = correlation(matrix, other)
            yield {**row, "what": f"random head and {what}", "seed": seed, "value": value}


def of_student(
    common: dict, arm: str, student: sskd.Network, images: tuple[Tensor, Tensor], given: tuple[Given, Given]
) -> Iterator[dict]:
    """Yield the rows of one student. images: training and test; given: the teacher's outputs on both."""
    outputs = [outputs_of(student, part) for part in images]
    inputs = outputs[0]["features"], outputs[1]["features"]
    targets = given[0]["projection"], given[1]["projection"]
    value = explained(inputs, targets, 1)
    yield {**common, "kind": "explained", "what": f"features of {arm}, linear", "value": value}
    value = task_accuracy(inputs[1])
    yield {**common, "kind": "task", "what": f"features of {arm}, among {BATCH}", "value": value}
    yield {**common, "kind": "match", "what": f"{arm}, fitted head", "value": fitted_head(inputs, targets)}
    if student.head is not None:
        pairs = zip(outputs[1]["projection"], targets[1], strict=True)
        value = statistics.fmean(term_ss(s, t).item() for s, t in pairs)
        yield {**common, "kind": "match", "what": f"{arm}, its own head", "value": value}
        value = task_accuracy(outputs[1]["projection"])
        yield {**common, "kind": "task", "what": f"{arm}, its own head, among {BATCH}", "value": value}


def fashion_rows() -> Iterator[dict]:
    """Train SSKD and KD+rotations on 300 labels, measuring the gradients on the way, and yield all rows."""
    cell, runtime = read_plan().cells["fashion-300"], sskd.choose_runtime("cpu")
    teacher = sskd.load_checkpoint(Sources().teacher("fashion"))
    pool, _, test = images_of(cell, Sources(), SEEDS[0])
    images = pool.take(FIT, seed=0).images, test.images
    given = tuple(outputs_of(teacher, part) for part in images)
    yield from of_teacher(cell.name, teacher, pool, *given)
    arms = ("kd+rotations", "sskd")
    for seed in SEEDS:
        common, labelled = {"place": cell.name, "seed": seed}, images_of(cell, Sources(), seed)[1]
        students = [
            sskd.create_network(cell.student, like=labelled, projection=arm == "sskd", seed=seed)
            for arm in arms
        ]
        yield from of_student(common, "a fresh network", copy.deepcopy(students[0]), images, given)
        head = fresh_head("half trained head", teacher, labelled, seed, runtime)
        with torch.no_grad():
            value = task_accuracy(head.eval()(given[1]["features"]))
        yield {**common, "kind": "task", "what": f"teacher, half trained head, among {BATCH}", "value": value}
        rows: list[dict] = []

        def watch(epochs: int, networks: list, rows=rows, common=common, labelled=labelled) -> None:
            if epochs % EVERY == 0:
                values = gradient_rows(networks[1], teacher, labelled)
                kind = {**common, "kind": "gradient", "epoch": epochs}
                rows.extend({**kind, "what": what, "value": value} for what, value in values.items())

        options = {"schedule": cell.schedule, "seed": seed, "runtime": runtime, "progress": False}
        runs = sskd.distill(students, teacher, labelled, method=list(arms), watch=watch, **options)
        yield from rows
        for arm, finished in zip(arms, runs, strict=True):
            yield from of_student(common, arm, finished.network, images, given)


def hundred_rows(hundred: str) -> Iterator[dict]:
    """Yield the rows of the 100 classes, from the students that claims.py keeps in runs/claims/hundred-50."""
    cell, sources = read_plan().cells["hundred-50"], Sources({"hundred": hundred})
    pool, _, test = images_of(cell, sources, cell.seeds[0])
    teacher = sskd.load_checkpoint(sources.teacher("hundred"))
    images = pool.take(FIT // 100 * 100, seed=0).images, test.images
    given = tuple(outputs_of(teacher, part) for part in images)
    yield from of_teacher(cell.name, teacher, pool, *given)
    for seed in cell.seeds[: len(SEEDS)]:
        for arm in ("kd+rotations", "sskd"):
            path = ROOT / "runs" / "claims" / cell.name / f"{arm}-{seed}.safetensors"
            common = {"place": cell.name, "seed": seed}
            yield from of_student(common, arm, sskd.load_checkpoint(path), images, given)


def run(hundred: str = "", fashion: bool = True, record: Path = REASONS) -> None:
    """Measure and append one row per number.

    Args:
        hundred: folder:PATH of the 100 classes; without it they are left out.
        fashion: whether Fashion-MNIST is measured.
        record: where the rows go.
    """
    sources = [fashion_rows()] * fashion + [hundred_rows(hundred)] * bool(hundred)
    common = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    with open(record, "a", encoding="utf-8") as file:
        for rows in sources:
            for row in rows:
                row["value"] = round(row["value"], 5)
                file.write(json.dumps(row | common, ensure_ascii=False) + "\n")
                file.flush()
                print(*row.values(), flush=True)


def table(record: Path = REASONS) -> None:
    """Print each quantity: its mean over the seeds and the 95 % interval."""
    groups: dict[tuple, list[float]] = {}
    for row in read_rows(record):
        key = tuple(row.get(name, "") for name in ("place", "kind", "what", "epoch"))
        groups.setdefault(key, []).append(row["value"])
    for key, values in groups.items():
        print(*key, "{:.3f} ± {:.3f}".format(*interval(values)), f"({len(values)})")


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict({"run": run, "table": table}, description=__doc__)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{error}")
