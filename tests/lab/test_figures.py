"""Colours, figures, alternative texts, t-SNE maps."""

from __future__ import annotations

import base64
import io
import itertools

import matplotlib
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from sskd_lib import lab
from sskd_lib.lab import style
from sskd_lib.lab.curves import interval

CLASSES = ("T-shirt/top", "Trouser", "Pullover")
DEUTERANOPIA = np.array(  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


@pytest.fixture(autouse=True)
def defaults():
    """Each test begins with the kit's theme and leaves matplotlib as it was."""
    with matplotlib.rc_context():
        lab.theme()
        yield


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(rgb @ [0.2126, 0.7152, 0.0722])


def cielab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    white = to_xyz @ rgb.clip(0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(white > 0.008856, np.cbrt(white), 7.787 * white + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_methods_read_on_white_in_grey_and_without_green_cones() -> None:
    chosen = style.METHOD_STYLES
    colours = {name: linear(one_style.colour) for name, one_style in chosen.items()}
    grey = {name: cielab(rgb)[0] for name, rgb in colours.items()}  # L* depends on the luminance alone
    for name, rgb in colours.items():
        assert 1.05 / (luminance(rgb) + 0.05) >= 3, f"{name} is too pale on white"
    for a, b in itertools.combinations(chosen, 2):
        assert abs(grey[a] - grey[b]) >= 10, f"{a} and {b} are one grey"
        seen = [cielab(DEUTERANOPIA @ colours[name]) for name in (a, b)]
        assert np.linalg.norm(seen[0] - seen[1]) >= 20, f"{a} and {b} are one colour to some"
        assert chosen[a].line != chosen[b].line and chosen[a].marker != chosen[b].marker
    for text in (style.INK, style.QUIET):
        assert 1.05 / (luminance(linear(text)) + 0.05) >= 4.5


def test_no_two_classes_have_one_colour_and_marker() -> None:
    pairs = [
        (style.CLASS_COLOURS[k % len(style.CLASS_COLOURS)], style.CLASS_MARKERS[k % len(style.CLASS_MARKERS)])
        for k in range(100)
    ]
    assert len(set(pairs)) == 100 and len({c for c, _ in pairs[:10]}) == 10


def test_unknown_names_get_new_styles() -> None:
    chosen = lab.styles(["sskd", "T = 1", "T = 4"])
    assert chosen["sskd"] is style.METHOD_STYLES["sskd"]
    assert chosen["T = 1"].colour != chosen["T = 4"].colour and chosen["T = 1"].line != chosen["T = 4"].line


def histories() -> dict[str, list]:
    generator = np.random.default_rng(0)
    return {
        name: [
            [{"epoch": e, "test_accuracy": top + generator.normal() if e % 2 else None} for e in range(1, 10)]
            for _ in range(3)
        ]
        for name, top in (("ce", 60), ("kd+rotations", 70), ("sskd", 71))
    }


FIGURES = (
    *("grid", "views", "soft", "heat", "logits", "two", "matrix"),
    *("curves", "bars", "lines", "levels", "marks", "map", "maps", "picture", "rows", "pipeline"),
)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    """One figure of each kind, in the kit's theme."""
    with matplotlib.rc_context():
        lab.theme()
        return draw_figures()


def draw_figures() -> dict[str, Figure]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (9, 1, 28, 28), dtype=torch.uint8, generator=generator)
    scores = torch.rand(24, 8, generator=generator)
    true_column = torch.arange(24) % 8
    flat, labels = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    return {
        "grid": lab.image_grid(images, [f"image {i}\nSneaker" for i in range(9)], columns=5),
        "views": lab.views_figure(images[0]),
        "soft": lab.soft_targets(images[0], torch.tensor([4.0, 1.0, 0.0]), CLASSES),
        "heat": lab.similarity_heatmap(scores, true_column, "Teacher"),
        "logits": lab.similarity_heatmap(scores[:, :3], true_column % 3),
        "two": lab.teacher_student_heatmaps(scores, scores.flip(0), true_column),
        "curves": lab.learning_curves(histories()),
        "bars": lab.bars_with_intervals({"kd": [71.0, 72.0, 72.5], "sskd": [75.0]}),
        "matrix": lab.matrix_heatmap([[np.nan, 2.5, 3], [1, np.nan, 4], [1, 2, 0]], CLASSES, "CKA", "a", "b"),
        "lines": lab.line_figure([1, 2, 4], {"kd": [1, 0.5, 0.25], "line": [1, 1, 1]}, "T", "g", "", True),
        "maps": lab.scatter_tsne({f"map {i}": flat for i in range(5)}, labels, CLASSES, columns=3),
        "map": lab.scatter_tsne({"Teacher": flat, "Student": flat}, labels, CLASSES, emphasise=[1, 2]),
        "picture": lab.similarity_picture(images[:1].expand(16, -1, -1, -1), scores[:12, :4]),
        "rows": lab.similarity_picture(images[:1].expand(32, -1, -1, -1), scores, rows=[0, 9, 23]),
        "levels": lab.line_figure([4, 16, 64], {"a": [3, 2, 1]}, "B", "%", "", "x", {"chance": 1.5}),
        "marks": lab.mark_figure(CLASSES * 3, {"90°": range(9), "180°": range(9)}, "%"),
        "pipeline": lab.pipeline_figure(images.expand(-1, 3, -1, -1)),
    }


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_small_or_leaves_the_picture(figures, name: str) -> None:
    figure = figures[name]
    FigureCanvasAgg(figure).draw()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert texts
    for text in texts:
        assert text.get_fontsize() >= 11, text
        edges = text.get_window_extent()
        if not _is_hidden_tick(text, figure):
            assert edges.x0 >= -1 and edges.y0 >= -1, text
            assert edges.x1 <= figure.bbox.x1 + 1 and edges.y1 <= figure.bbox.y1 + 1, text
    assert figure.get_facecolor() == (1, 1, 1, 1)


def _is_hidden_tick(text: Text, figure: Figure) -> bool:
    """Matplotlib keeps the labels of axes switched off and of ticks outside the limits, undrawn."""
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False):
                if label is text:
                    return not (axes.axison and min(low, high) <= place <= max(low, high))
    return False


def test_names_of_classes_lie_on_no_dot_and_on_no_other_name() -> None:
    draw = np.random.default_rng(3)
    labels = np.arange(400) % 10
    centres = draw.normal(scale=12, size=(10, 2))
    points = centres[labels] + draw.normal(scale=2, size=(400, 2))
    names = [f"kind {k} or so" for k in range(10)]
    figure = lab.scatter_tsne({"one": points, "two": -points}, labels, names)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line
        dots = axes.transData.transform(np.concatenate([line.get_xydata() for line in axes.lines]))
        assert len(boxes) == 10 and len(dots) == 400
        for box in boxes:
            assert not any(box.contains(*dot) for dot in dots)
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_views_turn_as_numpy_turns() -> None:
    image = torch.arange(3 * 16, dtype=torch.uint8).reshape(3, 4, 4)
    drawn = [axes.images[0].get_array() for axes in lab.views_figure(image).axes]
    for turns, pixels in enumerate(drawn):
        np.testing.assert_array_equal(pixels, np.rot90(image.permute(1, 2, 0).numpy(), turns))


def test_heatmap_blocks_count_the_right_rows() -> None:
    scores = torch.zeros(6, 2)
    true_column = torch.tensor([0, 1, 0, 1, 0, 1])
    scores[[0, 2, 3], true_column[[0, 2, 3]]] = 1  # 90°: first right; 180°: both; 270°: none
    scores[[1, 4, 5], 1 - true_column[[1, 4, 5]]] = 1
    titles = [axes.get_title(loc="left") for axes in lab.similarity_heatmap(scores, true_column).axes[:3]]
    assert titles == ["90°: 1 of 2 right", "180°: 2 of 2 right", "270°: 0 of 2 right"]


def test_matrix_writes_its_numbers_and_leaves_gaps(figures) -> None:
    numbers = [t.get_text() for t in figures["matrix"].axes[0].texts]
    assert numbers == ["2.5", "3.0", "1.0", "4.0", "1.0", "2.0", "0.0"]


def test_maps_have_one_scale_and_the_last_place_stays_empty(figures) -> None:
    panels = figures["maps"].axes
    assert [panel.axison for panel in panels] == [True] * 5 + [False]
    assert len({panel.get_xlim() for panel in panels[:5]}) == 1


def test_interval_is_the_t_interval() -> None:
    mean, half = interval([1.0, 2.0, 3.0, 4.0, 5.0])  # s = √2.5, t₀.₉₇₅(4) = 2.776
    assert mean == 3 and half == pytest.approx(2.7764 * np.sqrt(2.5 / 5), rel=1e-4)
    assert np.isnan(interval([7.0])[1])


def test_learning_curves_draw_the_mean_over_seeds() -> None:
    runs = histories()
    line = lab.learning_curves(runs).axes[0].lines[2]
    expected = np.mean([[row["test_accuracy"] for row in run[::2]] for run in runs["sskd"]], axis=0)
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert list(line.get_xdata()) == [1, 3, 5, 7, 9]
    with pytest.raises(ValueError, match="no epoch of 'ce' has 'loss' .* have: epoch, test_accuracy"):
        lab.learning_curves({"ce": runs["ce"][0]}, "loss")


def test_show_publishes_a_png_with_its_alternative_text(capsys) -> None:
    figure = lab.image_grid(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
    lab.show(figure, "A black square.")  # no IPython here: the text is printed
    assert capsys.readouterr().out == "A black square.\n"
    with pytest.raises(ValueError, match="alternative text"):
        lab.show(figure, " ")
    shell = InteractiveShell.instance()
    try:
        with capture_output() as captured:
            lab.show(figure, "A black square.")
    finally:
        shell.history_manager.end_session()
        InteractiveShell.clear_instance()
    (output,) = captured.outputs
    assert output.metadata == {"image/png": {"alt": "A black square."}}
    assert Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).format == "PNG"


def test_is_static_without_a_kernel_or_on_demand(monkeypatch) -> None:
    monkeypatch.delenv("SSKD_STATIC", raising=False)
    assert lab.is_static()  # pytest is no notebook
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: type("Shell", (), {"kernel": 1}))
    assert not lab.is_static()
    monkeypatch.setenv("SSKD_STATIC", "1")
    assert lab.is_static()


def test_tsne_is_deterministic_cached_and_keeps_groups(tmp_path) -> None:
    generator = np.random.default_rng(0)
    vectors = np.concatenate([generator.normal(10 * k, 1, (25, 8)) for k in range(3)])
    first, again = (lab.embed(vectors, perplexity=8, folder=folder) for folder in (tmp_path, None))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(lab.embed(vectors, perplexity=8, folder=tmp_path), first)
    assert len(list(tmp_path.rglob("output.pkl"))) == 1
    near = np.argsort(((first[:, None] - first) ** 2).sum(-1), axis=1)[:, 1]
    assert (near // 25 == np.arange(75) // 25).mean() > 0.95
    one, other = (lab.embed(vectors, seed=seed, perplexity=8, start="random") for seed in (0, 1))
    assert not np.allclose(one, other) and not np.allclose(one, first)
    with pytest.raises(ValueError, match="needs more than 30 vectors"):
        lab.embed(vectors[:20])


def test_procrustes_recovers_a_turned_mirrored_shifted_copy() -> None:
    generator = np.random.default_rng(0)
    a = generator.normal(size=(40, 2))
    turn, _ = np.linalg.qr(generator.normal(size=(2, 2)))
    for mirror in (np.eye(2), np.diag([1, -1])):
        np.testing.assert_allclose(lab.align(a, a @ turn @ mirror + [5, -3]), a, atol=1e-12)
    with pytest.raises(ValueError, match="same images"):
        lab.align(a, a[:-1])
