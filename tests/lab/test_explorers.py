"""The explorers: what a move of a slider changes, against computations written here on their own."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
import torch
from IPython.utils.capture import capture_output

from helpers.explorers import (
    CLASSES,
    bits_by_hand,
    selection_explorer,
    softened_by_hand,
    temperature_explorer,
)
from helpers.pictures import picture
from sskd_lib.lab.explorers import OPEN, explore_selection, explore_temperature
from sskd_lib.lab.explorers.temperature import TEMPERATURES
from sskd_lib.lab.softening import kd_gradient
from sskd_lib.losses import kd_loss


def test_temperature_slider_moves_picture_and_words(live) -> None:
    explorer = temperature_explorer()
    widgets = explorer.live
    seen = set()
    for image, temperature in ((0, 1.0), (0, 4.0), (0, 20.0), (3, 0.5)):
        widgets.controls["image"].value = image
        widgets.controls["temperature"].value = temperature
        seen.add(widgets.picture.value)
        p = softened_by_hand(explorer.logits["teacher"]["teacher"][image], temperature)
        q = softened_by_hand(explorer.logits["student"]["student"][image], temperature)
        words = widgets.words.value
        assert re.findall(r"entropy ([\d.]+) of 3.32 bits", words) == [
            f"{bits_by_hand(p):.2f}",
            f"{bits_by_hand(q):.2f}",
        ]
        assert f"Image {image + 1}, {CLASSES[image]}, at temperature {temperature:g}." in words
        assert f"Teacher: {CLASSES[int(np.argmax(p))]} {100 * max(p):.1f} %" in words
    assert len(seen) == 4


def test_temperature_bars_have_the_length_of_the_probability(live) -> None:
    explorer = temperature_explorer()
    for temperature in (1.0, 4.0):
        pixels = picture(explorer.frame(image=2, temperature=temperature))
        p = softened_by_hand(explorer.logits["teacher"]["teacher"][2], temperature)
        for k, bar in enumerate(explorer.bars[: len(CLASSES)]):
            row = pixels[round(explorer._pixel_row(bar)), explorer.left + 1 :]
            black = (row.max(axis=1) < 60).argmin()  # from the axis to the first pixel that is not black
            assert abs(black + 1 - p[k] / explorer.scale.reach * explorer.wide) <= 2


def test_kd_gradient_is_that_of_the_library_loss() -> None:
    generator = torch.Generator().manual_seed(2)
    teacher, student = torch.randn(2, 7, dtype=torch.float64, generator=generator)
    student.requires_grad_()
    for temperature in (0.5, 4.0, 20.0):
        (gradient,) = torch.autograd.grad(kd_loss(student[None], teacher[None], temperature), student)
        ours = kd_gradient(student.detach().numpy(), teacher.numpy(), temperature)
        np.testing.assert_allclose(ours, gradient.numpy(), atol=1e-12)


def test_many_classes_show_the_first_ten_of_the_teacher(live) -> None:
    classes = tuple(f"species number {k}" for k in range(40))
    explorer = temperature_explorer(classes=classes, student=False)
    explorer.frame(image=1)
    order = sorted(range(40), key=lambda k: -explorer.logits["teacher"]["teacher"][1][k])
    assert explorer.shown.tolist() == order[:10]
    assert "of 5.32 bits" in explorer.describe(image=1)


@pytest.mark.parametrize("make", [temperature_explorer, selection_explorer])
def test_frames_are_deterministic_and_callbacks_run_no_network(live, make, monkeypatch) -> None:
    explorer = make()
    first, start = explorer.live.picture.value, explorer.start()
    monkeypatch.setattr(
        torch.nn.Module, "__call__", lambda *a, **k: pytest.fail("a network ran in a callback")
    )
    for control in explorer.live.controls.values():
        for _, value in control.options:
            control.value = value
            assert 'role="status"' in explorer.live.words.value
    explorer.live.buttons["Reset"].click()
    assert {name: control.value for name, control in explorer.live.controls.items()} == start
    assert explorer.live.picture.value == first == explorer.frame()


def test_an_error_in_a_callback_is_shown(live, monkeypatch) -> None:
    explorer = temperature_explorer()

    def broken(**state: object) -> None:
        raise RuntimeError("a <strange> thing")

    monkeypatch.setattr(explorer, "update", broken)
    explorer.live.controls["temperature"].value = 8.0
    assert 'role="alert"' in explorer.live.words.value
    assert "RuntimeError: a &lt;strange&gt; thing" in explorer.live.words.value
    monkeypatch.undo()
    explorer.live.controls["temperature"].value = 9.0
    assert 'role="status"' in explorer.live.words.value


def test_running_a_cell_again_replaces_its_explorer(live) -> None:
    from ipywidgets.widgets import widget

    alive = getattr(widget, "_instances", None)  # later than 8.0
    if alive is None:
        names = ("_active_widgets", "widgets")  # 8.0, and 7
        alive = next(getattr(widget.Widget, name) for name in names if hasattr(widget.Widget, name))
    first = temperature_explorer()
    count = len(alive)
    for _ in range(3):
        last = temperature_explorer()
        assert len(alive) == count
    assert OPEN["temperature"] is last.live is not first.live
    before = last.live.picture.value
    first.live.controls["temperature"].value = 10.0  # the old slider is cut off
    assert last.live.picture.value == before
    other = temperature_explorer(key="another")
    assert set(OPEN) == {"temperature", "another"} and other.live is OPEN["another"]


@pytest.mark.parametrize("make", [temperature_explorer, selection_explorer])
def test_static_pages_hold_one_picture_with_alt_text_and_no_widget(static, make) -> None:
    with capture_output() as captured:
        explorer = make()
    (output,) = captured.outputs
    assert set(output.data) == {"image/png", "text/plain"}
    alt = output.metadata["image/png"]["alt"]
    assert all(explorer.describe(**state) in alt for state in explorer.film)
    strip = picture(base64.b64decode(output.data["image/png"]))
    height, count = explorer.canvas.height, len(explorer.film)
    assert strip.shape == (count * height + (count - 1) * 14, explorer.canvas.width, 3)
    frames = [picture(explorer.frame(**state)) for state in explorer.film]
    for number in range(count):  # each in its place, in the 256 colours of a strip
        part = strip[number * (height + 14) :][:height]
        differences = [abs(part - frame) for frame in frames]
        assert differences[number].mean() < 4  # of 255
        assert (differences[number].max(2) < 24).mean() > 0.97
        assert min(range(count), key=lambda i: differences[i].mean()) == number
    assert explorer.live is None and "SSKD_STATIC is set" in captured.stdout


def test_shapes_that_do_not_fit_are_refused() -> None:
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"teacher_logits is \[3, 10\], but 2 images and 10 classes"):
        explore_temperature(images, torch.zeros(3, 10), classes=CLASSES)
    with pytest.raises(ValueError, match="needs 2 images, 2 targets and 10 column"):
        explore_selection(images, torch.zeros(2, 10), torch.zeros(3), columns=CLASSES)
    with pytest.raises(ValueError, match=r"C = 1 or 3, not \[2, 28, 28, 1\]"):
        explore_temperature(images.movedim(1, -1), torch.zeros(2, 10), classes=CLASSES)


def test_temperatures_rise_in_even_steps_of_the_logarithm() -> None:
    steps = np.diff(np.log(TEMPERATURES))
    assert TEMPERATURES[0] == 0.5 and TEMPERATURES[-1] == 20.0 and {1.0, 4.0} < set(TEMPERATURES)
    assert steps.min() > 0 and steps.max() < 0.25
