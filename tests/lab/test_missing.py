"""The hidden class: a bias by a plain loop over the images, and the explorer's words and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.missing_class import CLASSES, explorer, made
from sskd_lib.lab.explorers.missing import explore_missing_class, name_with_bias


def test_the_bias_gives_the_class_to_the_share_of_images_by_a_plain_loop() -> None:
    _, labels, logits = made()
    z = logits["kd"].numpy().astype(float)
    for share, missing in ((0.1, 2), (0.25, 0), (0.5, 3)):
        found = name_with_bias(z, labels.numpy(), missing, share)
        rows = []  # (answer without the class, lead over the class)
        for row in z.tolist():
            others = [(value, k) for k, value in enumerate(row) if k != missing]
            best, k = max(others)
            rows.append((k, best - row[missing]))
        first = sorted(range(len(rows)), key=lambda i: rows[i][1])[: round(share * len(rows))]
        assert found.named.tolist() == first
        assert found.bias == pytest.approx(max(rows[i][1] for i in first))
        answers = [missing if i in first else k for i, (k, _) in enumerate(rows)]
        hits = [answer == label for answer, label in zip(answers, labels.tolist(), strict=True)]
        own = [hit for hit, label in zip(hits, labels.tolist(), strict=True) if label == missing]
        rest = [hit for hit, label in zip(hits, labels.tolist(), strict=True) if label != missing]
        assert found.missing_right == pytest.approx(100 * sum(own) / len(own))
        assert found.others_right == pytest.approx(100 * sum(rest) / len(rest))
        biased = z + found.bias * (np.arange(z.shape[1]) == missing)
        assert (biased.argmax(1) == missing).sum() >= len(first) - 1  # the last one is exactly level


def test_without_a_bias_nothing_is_given_the_class() -> None:
    _, labels, logits = made()
    found = name_with_bias(logits["ce"].numpy(), labels.numpy(), 1, 0.0)
    assert found.missing_right == 0 and len(found.named) == 0 and found.bias == 0


def test_words_and_picture_follow_the_slider(live) -> None:
    shown = explorer()
    before = shown.live.picture.value, shown.live.words.value
    shown.live.controls["fraction"].value = 0.25
    assert shown.live.picture.value != before[0] and shown.live.words.value != before[1]
    _, labels, logits = made()
    found = name_with_bias(logits["kd"].numpy(), labels.numpy(), 2, 0.25)
    assert f"{found.missing_right:.1f} % of the images of {CLASSES[2]} named right" in shown.live.words.value


def test_what_does_not_fit_is_refused() -> None:
    images, labels, logits = made()
    with pytest.raises(ValueError, match="missing is the number of a class, 0 to 3, not 4"):
        explore_missing_class(images, labels, logits, classes=CLASSES, missing=4)
    with pytest.raises(ValueError, match=r"logits of 'kd' are \[40, 3\], but 40 images and 4 classes need"):
        explore_missing_class(images, labels, {"kd": torch.zeros(40, 3)}, classes=CLASSES, missing=0)
    with pytest.raises(ValueError, match="has numbers that are NaN or infinite"):
        explore_missing_class(images, labels, {"kd": logits["kd"] / 0}, classes=CLASSES, missing=0)
