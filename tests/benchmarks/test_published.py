"""The published procedure and the kit compute the same."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

import published
import rows
import sskd_lib as sskd
from sskd_lib import Output, Recipe
from sskd_lib.losses import Batch, error_rank, image_of_row, similarity_matrix

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype)[6:])


def interleave(rows: Tensor) -> Tensor:
    """From the kit's layout (B upright | B at 90° | …) to the published one (four views of image 0, …)."""
    return rows.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1)


def interleaved(output: Output) -> Output:
    return Output(*(interleave(part) for part in output[:3]))


def share_without_tie(scores: Tensor, targets: Tensor) -> float:
    """A share of the wrong rows that cuts between two ranks: where ranks tie, either row may be kept."""
    ranks = error_rank(scores, targets).sort().values
    wrong = ranks[ranks > 0]
    cuts = (wrong.diff() > 0).nonzero() + 1
    return (cuts[len(cuts) // 2].item() + 0.5) / len(wrong)


def random_output(images: int, classes: int, width: int, dtype: torch.dtype, seed: int) -> Output:
    generator = torch.Generator().manual_seed(seed)
    widths = (classes, width, width)
    return Output(*(torch.randn(4 * images, d, generator=generator, dtype=dtype) for d in widths))


@PRECISIONS
@pytest.mark.parametrize("seed", range(5))
def test_published_terms_equal_the_kits_on_the_same_outputs(dtype: torch.dtype, seed: int) -> None:
    images, classes = 7, 11
    labels = torch.randint(0, classes, (images,), generator=torch.Generator().manual_seed(seed))
    student = random_output(images, classes, 5, dtype, seed)
    teacher = random_output(images, classes, 6, dtype, seed + 100)
    matrix = similarity_matrix(teacher.projection[images:], teacher.projection[:images])
    recipe = Recipe(
        tf_keep_wrong=share_without_tie(teacher.logits[images:], labels.repeat(3)),
        ss_keep_wrong=share_without_tie(matrix, image_of_row(3 * images, images)),
    )
    ours = sskd.create_method("sskd", recipe)(student, teacher, Batch(labels))
    theirs, _ = published.published_terms(interleaved(student), interleaved(teacher), labels, recipe)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@PRECISIONS
def test_published_step_moves_the_weights_as_the_kits_does_on_the_same_pixels(dtype: torch.dtype) -> None:
    data = rows.random_images(6, classes=5)
    teacher = sskd.create_network("resnet8", data, projection=True, seed=1).to(dtype).eval()
    ours = sskd.create_network("resnet8", data, projection=True, seed=2).to(dtype).train()
    theirs = copy.deepcopy(ours)
    views = sskd.four_views(data.images, torch.Generator().manual_seed(3)).to(dtype)
    recipe = Recipe(ss_keep_wrong=1.0)  # no selection: six columns tie at any cut

    optimizer = torch.optim.SGD(ours.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    with torch.no_grad():
        teacher_output = teacher(views)
    sskd.create_method("sskd", recipe)(ours(views), teacher_output, Batch(data.labels))["total"].backward()
    optimizer.step()

    normalised = interleave((views - theirs.mean) / theirs.std)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    phases = published.published_step(theirs, teacher, optimizer, lambda: normalised, data.labels, recipe)
    assert list(phases) == ["views", "teacher", "student forward", "losses", "backward", "update", "record"]

    expected = ours.state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


class Coin:
    """A generator that always draws the same number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


@pytest.mark.parametrize(("number", "mirrored"), [(0.1, True), (0.9, False)])
def test_published_views_show_the_kits_pixels_in_their_own_order(number: float, mirrored: bool) -> None:
    images = rows.random_images(3, classes=2).images
    upright_crop = published.transforms.ToTensor()
    theirs = published.published_views(images.permute(0, 2, 3, 1).numpy(), upright_crop, Coin(number))
    ours = sskd.four_views(images.flip(-1) if mirrored else images, augment=False)
    torch.testing.assert_close(theirs, interleave(ours))


def test_published_views_are_cropped_with_black_before_they_are_normalised() -> None:
    white = np.full((40, 32, 32, 3), 255, dtype=np.uint8)
    transform = published.published_transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 32)
    views = published.published_views(white, transform, np.random.default_rng(0))
    assert views.shape == (160, 3, 32, 32)
    assert views.unique().tolist() == [-2.0, 2.0]  # (0 - 0.5) / 0.25 and (1 - 0.5) / 0.25
