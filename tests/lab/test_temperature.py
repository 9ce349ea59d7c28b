"""The temperature explorer: class, image, teacher and student are chosen, against loops written here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.explorers import CLASSES, softened_by_hand
from helpers.pictures import picture
from sskd_lib.lab.explorers import explore_temperature
from sskd_lib.lab.softening import even_above
from sskd_lib.losses import kd_loss


def chooser(**more):
    """Two teachers and three students, and three images of each of four classes."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([2, 0, 1, 3] * 3)
    teachers, students = (
        {name: 3 * torch.randn(12, 4, generator=generator) for name in names}
        for names in (("small", "large"), ("ce", "kd+rotations", "sskd"))
    )
    explorer = explore_temperature(
        images, teachers, students, classes=CLASSES[:4], labels=labels, per_class=3, **more
    )
    return explorer, teachers, students, labels


def test_class_image_and_networks_are_chosen_by_lists(live) -> None:
    explorer, teachers, students, labels = chooser()
    widgets = explorer.live
    assert list(widgets.controls) == ["label", "image", "teacher", "student", "temperature"]
    assert explorer.start()["label"] == 2  # the class of the first image
    seen = set()
    for label, image, teacher, student in (
        (2, 0, "small", "ce"),
        (3, 2, "large", "sskd"),
        (0, 1, "large", "ce"),
    ):
        for name, value in zip(widgets.controls, (label, image, teacher, student, 4.0), strict=True):
            widgets.controls[name].value = value
        seen.add(widgets.picture.value)
        number = [i for i in range(12) if labels[i] == label][image]
        p, q = (softened_by_hand(z[number], 4.0) for z in (teachers[teacher], students[student]))
        words = widgets.words.value
        assert f"Image {number + 1}, {CLASSES[label]}, at temperature 4." in words
        assert f"Teacher {teacher}: {CLASSES[int(np.argmax(p))]} {100 * max(p):.1f} %" in words
        called = {"ce": "CE (labels only)", "sskd": "SSKD"}[student]
        assert f"Student {called}: {CLASSES[int(np.argmax(q))]} {100 * max(q):.1f} %" in words
        k = int(np.argmax([abs(a - b) for a, b in zip(p, q, strict=True)]))
        verb = "raise" if p[k] > q[k] else "lower"
        pull = f"{4 * (p[k] - q[k]):+.2f} on {CLASSES[k]}, so the student is to {verb} it."
        assert f"Largest pull, −τ² × gradient: {pull}" in words
        assert explorer.ticks[label].text == f"▸ {CLASSES[label]}"
        assert sum("▸" in tick.text for tick in explorer.ticks) == 1
    assert len(seen) == 3


def test_a_choice_leaves_nothing_of_the_choice_before(live) -> None:
    state = {"label": 3, "image": 1, "teacher": "large", "student": "sskd"}
    fresh = chooser()[0].frame(**state)
    explorer = chooser()[0]
    for student in ("kd+rotations", "ce"):
        explorer.frame(label=1, student=student)
    assert explorer.frame(**state) == fresh


def test_bars_of_the_pull_have_the_side_and_the_length_their_axis_says(live) -> None:
    explorer, teachers, students, _ = chooser()
    for image, temperature in ((0, 1.0), (1, 4.0), (2, 20.0)):
        pixels = picture(explorer.frame(image=image, temperature=temperature, student="kd+rotations"))
        number = int(explorer.groups[2][image])
        p, q = (
            softened_by_hand(z[number], temperature) for z in (teachers["small"], students["kd+rotations"])
        )
        ends = [float(words.text) for words in explorer.pull.scale.labels]
        first, _, zero, _, last = explorer.pull.scale.labels
        one = (last.x - first.x) / (ends[-1] - ends[0])  # pixels of a pull of 1
        for k in range(4):
            row = pixels[round(explorer.ticks[k].y) + 8]
            green = np.flatnonzero(np.abs(row - np.array([0x00, 0x49, 0x3A])).max(axis=1) < 30)
            right = (green > zero.x).sum() - (green[green > 660] < zero.x).sum()
            assert abs(right - one * temperature * (p[k] - q[k])) <= 2  # the teacher has more: raise it


def test_a_step_of_gradient_descent_follows_the_bars_of_the_pull(live) -> None:
    explorer, teachers, students, _ = chooser()
    number = int(explorer.groups[2][0])
    z = students["ce"][[number]].double().requires_grad_()
    kd_loss(z, teachers["small"][[number]].double(), 4.0).backward()
    explorer.frame(temperature=4.0)
    lengths = [bar.get_width() * explorer.pull.scale.reach for bar in explorer.pull.bars]
    assert lengths == pytest.approx((-z.grad[0]).tolist())


def test_soft_outputs_are_drawn_on_an_axis_that_ends_near_the_longest(live) -> None:
    explorer, teachers, students, _ = chooser()
    for temperature in (0.5, 4.0, 20.0):
        explorer.frame(temperature=temperature)
        number = int(explorer.groups[2][0])
        values = [softened_by_hand(z[number], temperature) for z in (teachers["small"], students["ce"])]
        end = float(explorer.scale.labels[-1].text.removesuffix(" %")) / 100
        assert max(map(max, values)) <= end <= 1
        assert end <= 2.5 * max(map(max, values))
        lengths = [bar.get_width() for bar in explorer.bars]
        assert lengths == pytest.approx([value / end for p in values for value in p])
        assert (f"axis to {100 * end:g} %" in explorer.scale_words.text) == (end < 1)


def test_an_axis_ends_evenly_and_not_far_above_its_values() -> None:
    for value in np.geomspace(0.002, 90, 200):
        end = even_above(value)
        assert value <= end * (1 + 1e-5) and end <= 2.001 * value
        assert f"{end:.0e}"[0] in "12468" and float(f"{end:.0e}") == end


def test_choices_that_cannot_be_made_are_refused() -> None:
    images, z = torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.zeros(3, 10)
    labels = torch.tensor([0, 0, 1])
    for per_class in (0, 2):
        with pytest.raises(ValueError, match=f"per_class is {per_class}, but of class ") as refusal:
            explore_temperature(images, z, classes=CLASSES, labels=labels, per_class=per_class)
    assert "of class B there are 1 images" in str(refusal.value)
    with pytest.raises(ValueError, match="per_class= .* needs labels="):
        explore_temperature(images, z, classes=CLASSES, per_class=1)
    with pytest.raises(ValueError, match="teacher_logits names no network"):
        explore_temperature(images, {}, classes=CLASSES)
    with pytest.raises(ValueError, match=r"student_logits is \[2, 10\], but 3 images"):
        explore_temperature(images, z, {"ce": z, "kd": z[:2]}, classes=CLASSES)
