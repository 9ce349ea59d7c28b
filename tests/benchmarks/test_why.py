"""The accuracy of the contrastive task in benchmarks/why.py, against the library's and a hand-made case."""

from __future__ import annotations

import pytest
import torch

import sskd_lib as sskd
import why


def test_the_task_accuracy_is_that_of_the_library():
    teacher = sskd.load_checkpoint(
        sskd.data.DATA_FOLDER / "weights" / "fashion-mnist" / "teacher_wrn_16_2.safetensors"
    )
    images = sskd.load_images("fashion-mnist-lab", "test").take(128, seed=0)
    projections = why.outputs_of(teacher, images.images)["projection"]
    for among in (16, 64):
        expected = sskd.contrastive_accuracy(teacher, images, among, sskd.choose_runtime("cpu", exact=True))
        assert 100 * why.task_accuracy(projections, among) == pytest.approx(expected, abs=1e-4)
    assert why.task_accuracy(projections, 8) > why.task_accuracy(projections, 64)


def test_views_that_are_swapped_are_not_their_own():
    """64 orthogonal images; once images 0 and 1 change places: 2 of 192 rows are wrong."""
    upright = torch.eye(64)
    swapped = upright[[1, 0, *range(2, 64)]]
    batch = torch.cat([upright, upright, swapped, upright])[None]
    assert why.task_accuracy(batch) == pytest.approx(190 / 192)
    assert why.task_accuracy(batch, among=1) == 1.0  # among one image every answer is right
