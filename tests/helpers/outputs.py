"""Random outputs of two networks, as terms and methods are called with them."""

from __future__ import annotations

import torch
from torch import Tensor

from sskd_lib.data.batch import Batch
from sskd_lib.losses import Term, create_term
from sskd_lib.models.network import Output

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 1, 0, 2])  # of all training images
INDEX = torch.tensor([4, 0, 9, 2])  # of the images in the batch
# (channels, side) of stem and stages
STUDENT = ((3, 8), (3, 8), (2, 4), (4, 2))
WIDE = ((4, 8), (5, 8), (3, 2), (6, 4))  # other channels; a smaller and a larger stage


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal noise, drawn in double precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_output(
    rows: int,
    seed: int,
    *,
    stages: tuple[tuple[int, int], ...] = STUDENT,
    classes: int = 5,
    projection: tuple[int, ...] = (8,),
    dtype: torch.dtype = torch.float32,
) -> Output:
    """All parts of an output, independent of each other; features are twice as wide as the last stage."""
    numbers = iter(range(100 * seed, 100 * seed + 100))

    def draw(*shape: int) -> Tensor:
        return normal(rows, *shape, seed=next(numbers), dtype=dtype)

    maps = tuple(draw(channels, side, side) for channels, side in stages)
    (width, side) = stages[-1]
    last = draw(width, side, side)
    return Output(draw(classes), draw(*projection), draw(2 * width), maps, last)


def pair_for(
    name: str, seed: int = 1, dtype: torch.dtype = torch.float64, rows: int = len(INDEX)
) -> tuple[Output, Output, Batch]:
    """Student, teacher and batch; the teacher is wider unless the term needs equal widths."""
    stages = STUDENT if name in ("fsp", "kdsvd", "simkd") else WIDE
    student = random_output(rows, seed, dtype=dtype)
    teacher = random_output(rows, seed + 50, stages=stages, dtype=dtype)
    return student, teacher, Batch(LABELS[INDEX[:rows]], INDEX[:rows])


def ready_term(
    name: str, student: Output, teacher: Output, numbers: dict | None = None, seed: int = 0
) -> Term:
    """A term set up for two networks, in the precision of their outputs."""
    term = create_term(name, numbers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        term.setup(student, teacher, LABELS)
    return term.to(student.logits.dtype)


def parts(output: Output) -> list[Tensor]:
    """All tensors of an output."""
    return [output.logits, output.projection, output.features, *output.maps, output.last]


def from_parts(tensors: list[Tensor]) -> Output:
    """The output that `parts` took apart."""
    logits, projection, features, *maps, last = tensors
    return Output(logits, projection, features, tuple(maps), last)
