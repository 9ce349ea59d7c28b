"""What notebook 05 measures: neighbours, widths, resemblance, and the groups that colour a map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import sskd_lib as sskd
from sskd_lib import lab
from sskd_lib.lab import feature_maps, neighbourhoods, resemblance
from sskd_lib.lab.atlas_data import Atlas

M, K = 24, 4


def random_output(seed: int, rows: int = M, width: int = 6) -> sskd.Output:
    generator = torch.Generator().manual_seed(seed)
    return sskd.Output(
        logits=torch.randn(rows, K, generator=generator),
        projection=None,
        features=torch.randn(rows, width, generator=generator),
    )


def image_set(counts: tuple[int, ...], **more) -> sskd.ImageSet:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = torch.randint(256, (len(labels), 1, 8, 8), dtype=torch.uint8)
    classes = tuple(f"class {k}" for k in range(len(counts)))
    return sskd.ImageSet(images=images, labels=labels, classes=classes, name="test", **more)


# ---- neighbours and distances --------------------------------------------------------------------


def test_overlap_of_neighbours_counts_what_plain_loops_count() -> None:
    a, b = random_output(0).features.double(), random_output(1).features.double()
    shared = 0
    for i in range(M):
        near = [
            {j for _, j in sorted(((x[i] - x[j]).norm().item(), j) for j in range(M) if j != i)[:5]}
            for x in (a, b)
        ]
        shared += len(near[0] & near[1])
    assert neighbourhoods.neighbour_overlap(a, b, 5) == pytest.approx(100 * shared / (5 * M))
    assert neighbourhoods.neighbour_overlap(a, 3 * a + 1) == 100


def test_order_of_distances_is_that_of_the_class_centres() -> None:
    labels = torch.arange(M) % K
    a = random_output(0).features
    assert neighbourhoods.order_of_distances(a, 2 * a, labels) == pytest.approx(1)
    turned = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))[0]
    assert neighbourhoods.order_of_distances(a, a @ turned, labels) == pytest.approx(1)


def test_distances_within_and_between_classes() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])  # within: 1, 1; between: 9, 10, 10, 11
    assert neighbourhoods.within_to_between(points, labels) == pytest.approx(10)


def test_votes_of_neighbours_leave_the_image_itself_out() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 0])
    points = np.array([[0.0], [0.1], [0.2], [0.3], [5.0], [5.1], [5.2], [5.3], [5.15]])
    # the last image is among those of the other class: its own label does not count, so it is the only error
    assert neighbourhoods.vote_of_neighbours(points, labels, 3) == pytest.approx(100 * 8 / 9)


def test_the_tables_name_the_nearest(capsys) -> None:
    labels, a = torch.arange(M) % K, random_output(0).features
    first = a[:, :2].numpy()
    others = {"map 2: shifted": first + 5, "map 3: shuffled": first[::-1].copy()}
    neighbourhoods.print_map_table(first, others, a, labels)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[3:5] == ["0", "%"]
    assert [line.rpartition(": map ")[2] for line in lines[-2:]] == ["2: shifted", "2: shifted"]
    neighbourhoods.print_class_widths(a, 2 * first, torch.ones(M), labels, [f"class {k}" for k in range(K)])
    assert "1.0 ×" in capsys.readouterr().out.splitlines()[-1]
    sizes = torch.tensor([3.0, 1.0, 2.0])  # of the three classes: two images each, so far from each other
    pairs = torch.stack([torch.zeros(3), sizes], 1).reshape(6, 1)
    rows = neighbourhoods.class_widths(pairs, 5 * pairs, torch.arange(6.0), torch.arange(6) // 2, "abc")
    assert [row[0] for row in rows] == [1, 2, 3] and [row[1] for row in rows] == [5, 10, 15]
    assert [row[3] for row in rows] == ["b", "c", "a"]


def test_quarters_run_from_the_surest_to_the_least_sure(capsys) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(1, M, K)).astype(np.float32) * np.linspace(8, 0.1, M)[:, None]
    labels = torch.as_tensor(logits[0].argmax(1))
    labels[-3:] = (labels[-3:] + 1) % K  # errors, all among the least sure
    neighbours = np.stack([np.setdiff1d(np.arange(M), [i])[:6] for i in range(M)])[None, None]
    points = generator.normal(size=(1, 2, M, 2)).astype(np.float32)
    atlas = Atlas(("teacher",), (4.0,), logits, points, np.repeat(neighbours, 2, 1).astype(np.int16))
    neighbourhoods.print_certainty(atlas, labels)
    lines = capsys.readouterr().out.splitlines()
    assert [int(line[16:24]) for line in lines[1:5]] == [0, 0, 0, 3]
    assert "has 100 % of the errors" in lines[-1]


# ---- student and teacher -------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 3])
def test_a_bootstrap_equals_measures_of_the_rows_it_drew(copies) -> None:
    student, teacher = random_output(0, copies * M), random_output(1, copies * M, 9)
    drawn = resemblance.bootstrap_resemblance(student, teacher, M, draws=3, seed=5)
    generator = torch.Generator().manual_seed(5)
    for measures in drawn:
        draw = torch.randint(M, (M,), generator=generator)
        rows = torch.cat([draw + copy * M for copy in range(copies)])
        parts = [
            sskd.Output(logits=o.logits[rows], projection=None, features=o.features[rows])
            for o in (student, teacher)
        ]
        np.testing.assert_allclose(measures, list(resemblance.resemblance(*parts).values()), rtol=1e-5)


def test_gaps_say_who_is_nearer(capsys) -> None:
    teacher = random_output(0)
    near, far = ({"features": teacher.features + s * random_output(1).features} for s in (0.01, 3))
    logits = {s: teacher.logits + s * random_output(2).logits for s in (0.01, 30)}
    outputs = {
        "teacher": teacher,
        "near": sskd.Output(logits=logits[0.01], projection=None, **near),
        "far": sskd.Output(logits=logits[30], projection=None, **far),
    }
    resemblance.print_resemblance({"upright": outputs}, torch.arange(M) % K)
    assert "100.0%" in capsys.readouterr().out
    gaps = resemblance.resemblance_gaps({"upright": outputs}, "near", ("far", "near"))
    resemblance.print_gaps(gaps, "near")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "near against far: 3 nearer, 0 farther, 0 no difference shown",
        "near against near: 0 nearer, 0 farther, 3 no difference shown",
    ]


def test_cka_names_the_nearest_and_the_most_similar_pair(capsys) -> None:
    table = [[1.0, 0.5, 0.6], [0.5, 1.0, 0.9], [0.6, 0.9, 1.0]]
    resemblance.show_cka(table, ["teacher", "kd", "sskd"])
    assert "highest: sskd\nmost similar pair of all: kd and sskd, 0.900" in capsys.readouterr().out


# ---- maps ----------------------------------------------------------------------------------------


def test_samples_are_balanced_where_the_classes_allow_it() -> None:
    data = image_set((10, 10, 10))
    assert lab.balanced_sample(data, 30) is data
    assert lab.balanced_sample(data, 6).labels.bincount().tolist() == [2, 2, 2]
    uneven = lab.balanced_sample(image_set((1, 20, 20)), 9)
    assert len(uneven) == 9
    assert uneven.classes == data.classes


def test_colours_are_those_of_the_coarse_classes_if_there_are_any() -> None:
    data = image_set((2, 2, 2))
    groups, names = feature_maps.colour_groups(data)
    assert (groups.tolist(), names) == (data.labels.tolist(), data.classes)
    groups, names = feature_maps.colour_groups(replace(data, coarse=("apple", "pear", "apple")))
    assert (groups.tolist(), names) == ([0, 0, 1, 1, 0, 0], ("apple", "pear"))
    many = image_set((1,) * 3 + (2,) * 10)
    groups, names = feature_maps.colour_groups(many)
    assert names == many.classes[3:]
    assert (groups[:3] == -1).all() and groups.max() == 9


def test_maps_of_many_classes_have_grey_dots_and_ten_images(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(feature_maps, "cache_folder", lambda: tmp_path)
    data = image_set((3,) * 14)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(data), 5, generator=generator) + data.labels[:, None]
    feature_maps.show_three_maps(features, features.sqrt().nan_to_num(), data)
    assert "Three t-SNE maps of the same 42 images." in capsys.readouterr().out
    assert len(list(tmp_path.rglob("output.pkl"))) == 3
    figure = feature_maps.map_figure({"one": feature_maps.cached_map(features)}, data)
    boxes = [a for a in figure.axes[0].artists if type(a).__name__ == "AnnotationBbox"]
    assert len(boxes) == 10
    assert len(list(tmp_path.rglob("output.pkl"))) == 3  # found again
