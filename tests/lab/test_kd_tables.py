"""What is said about the teacher's similar classes."""

from __future__ import annotations

import torch

from sskd_lib.data.images import ImageSet
from sskd_lib.lab.kd_tables import class_similarities


def test_the_most_one_sided_pair_is_the_one_with_the_largest_ratio() -> None:
    """A → B is larger than B → A by 10 points, but 1.3 times; A → C is larger by 8 points, and 5 times."""
    probabilities = torch.tensor([[0.50, 0.40, 0.10], [0.30, 0.65, 0.05], [0.02, 0.08, 0.90]])
    pixels = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    images = ImageSet(images=pixels, labels=torch.arange(3), classes=("A", "B", "C"), name="three")
    _, words = class_similarities(4 * probabilities.log(), torch.arange(3), images)
    assert "most one-sided A → C 10.0 %, back 2.0 %" in words
