"""Data of the atlas: neighbours by a plain loop, alignment, the cache and the shipped maps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import sskd_lib as sskd
from sskd_lib import lab
from sskd_lib.lab import atlas_data as maps
from sskd_lib.lab.shipped import TEACHER, student_file, weights_folder
from sskd_lib.models.build import build_network

SPEC = {"model": "resnet8", "num_classes": 4, "in_channels": 1, "projection": False}
COUNT = 24


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(
        0, 256, (COUNT, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def network(seed: int = 0, **changes) -> sskd.Network:
    return build_network(SPEC | changes, [0.3], [0.2], seed)


def find(folder, images, seeds=(0,), temperatures=(1.0, 4.0)) -> maps.Atlas:
    named = {f"net {seed}": network(seed) for seed in seeds}
    return maps.atlas_maps(named, images, temperatures=temperatures, folder=folder)


def same(a: maps.Atlas, b: maps.Atlas) -> bool:
    return a[:2] == b[:2] and all(
        x.dtype == y.dtype and (x == y).all() for x, y in zip(a[2:], b[2:], strict=True)
    )


def nearest_by_hand(rows, count: int) -> list[list[int]]:
    atlas = []
    for i, row in enumerate(rows):
        gaps = [
            (sum((a - b) ** 2 for a, b in zip(row, other, strict=True)), j) for j, other in enumerate(rows)
        ]
        atlas.append([j for _, j in sorted(gaps) if j != i][:count])
    return atlas


def test_neighbours_are_those_of_a_plain_loop() -> None:
    rows = np.random.default_rng(0).integers(0, 3, (40, 3)).astype(float)  # many are equally far, or the same
    assert maps.nearest(rows).tolist() == nearest_by_hand(rows.tolist(), 6)
    assert maps.nearest(rows, 3).tolist() == nearest_by_hand(rows.tolist(), 3)


def test_shared_neighbours_by_hand() -> None:
    points = np.array([[0.0, 0], [1, 0], [2.1, 0], [3.3, 0]])  # the map has 0 next to 1, then 2
    near = np.array([[3, 1], [0, 2], [0, 3], [2, 1]])
    on_map = [[False, True], [True, True], [False, True], [True, True]]
    assert maps.shared_neighbours(near, points).tolist() == on_map


def test_each_space_is_mapped_by_its_equation(tmp_path, images) -> None:
    atlas = find(tmp_path, images, seeds=(0, 1))
    assert atlas.networks == ("net 0", "net 1") and atlas.temperatures == (1.0, 4.0)
    assert atlas.points.shape == (2, 3, COUNT, 2) and atlas.points.dtype == np.float32
    assert np.abs(atlas.points).max(axis=(2, 3)) == pytest.approx(np.ones((2, 3)))
    for n in range(2):
        output = sskd.predict(network(n), images)
        assert (atlas.logits[n] == output.logits.numpy()).all()
        for space, temperature in enumerate(atlas.temperatures):
            roots = torch.softmax(output.logits.double() / temperature, 1).sqrt()
            assert atlas.neighbours[n, space].tolist() == nearest_by_hand(roots.tolist(), 6)
        features = output.features.double().tolist()
        assert atlas.neighbours[n, 2].tolist() == nearest_by_hand(features, 6)


def test_distance_of_roots_is_half_the_divergence_nearby() -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.softmax(2 * torch.randn(50, 6, dtype=torch.float64, generator=generator), 1)
    q = p * (1 + 0.02 * torch.randn(50, 6, dtype=torch.float64, generator=generator))
    q = q / q.sum(1, keepdim=True)
    divergence = (p * (p / q).log()).sum(1)
    torch.testing.assert_close(((p.sqrt() - q.sqrt()) ** 2).sum(1), divergence / 2, rtol=0.05, atol=0)


def test_turning_mirroring_moving_or_scaling_a_map_changes_nothing(tmp_path, images, monkeypatch) -> None:
    first = find(tmp_path / "first", images, seeds=(0, 1))
    made, turn = maps.make_maps, np.array([[0.6, 0.8], [0.8, -0.6]])  # by an angle, and mirrored

    def turned(net, *more):
        part = made(net, *more)
        if torch.equal(next(net.parameters()), next(network(1).parameters())):
            part["points"] = (3 * part["points"] @ turn + [5, -2]).astype(np.float32)
        return part

    monkeypatch.setattr(maps, "make_maps", turned)
    again = find(tmp_path / "again", images, seeds=(0, 1))
    np.testing.assert_allclose(again.points[1], first.points[1], atol=1e-4)
    assert (again.points[0] == first.points[0]).all()


def test_the_cache_gives_the_same_bits_and_a_new_network_adds_one_entry(tmp_path, images, capsys):
    made = find(tmp_path, images)
    assert capsys.readouterr().out == "net 0: drawing 3 t-SNE maps of 24 images; then they are kept\n"
    assert same(find(tmp_path, images), made) and capsys.readouterr().out == ""
    both = find(tmp_path, images, seeds=(0, 1))
    assert capsys.readouterr().out.startswith("net 1")
    assert len(list(tmp_path.rglob("output.pkl"))) == 2
    assert (both.points[0] == made.points[0]).all()
    assert same(find(tmp_path / "elsewhere", images), made)  # made anew on this machine: the same maps


def test_the_key_names_all_that_maps_depend_on(images) -> None:
    other = images.clone()
    other[3, 0, 5, 5] += 1
    changed = network()
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-6
    keys = [
        maps.maps_key(*settings)
        for settings in (
            (network(), images, (1.0, 4.0), 0),
            (changed, images, (1.0, 4.0), 0),
            (network(), other, (1.0, 4.0), 0),
            (network(), images.view(COUNT, 1, 8, 32), (1.0, 4.0), 0),
            (network(), images, (1.0, 2.0), 0),
            (network(), images, (1.0, 4.0), 1),
        )
    ]
    assert len(set(keys)) == len(keys)
    assert maps.maps_key(network(), images.clone(), (1.0, 4.0), 0) == keys[0]


def test_damaged_maps_are_computed_again(tmp_path, images) -> None:
    made = find(tmp_path, images, temperatures=(1.0,))
    (file,) = tmp_path.rglob("output.pkl")
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        file.write_bytes(damaged)
        assert same(find(tmp_path, images, temperatures=(1.0,)), made)
        assert len(file.read_bytes()) == len(whole)


def test_a_damaged_shipped_file_is_named_with_its_remedy(tmp_path, images, monkeypatch) -> None:
    monkeypatch.setattr(maps, "SHIPPED", tmp_path)
    key = maps.maps_key(network(), images, (1.0, 4.0), 0)
    (tmp_path / f"{key[:20]}.npz").write_bytes(b"PK cut short")
    with pytest.raises(ValueError, match="is damaged .* git checkout -- data/atlas"):
        find(tmp_path / "cache", images)


def test_maps_come_also_where_nothing_can_be_kept(tmp_path, images) -> None:
    (tmp_path / "file").write_text("in the way")
    assert find(tmp_path / "file" / "folder", images).points.shape == (1, 3, COUNT, 2)


def test_shipped_maps_are_those_of_the_shipped_networks(own_home, capsys) -> None:
    """The notebook's atlas costs no t-SNE, and what is shipped belongs to the weights beside it."""
    few = sskd.load_images("fashion-mnist-lab", "test").take(400, seed=0)
    files = {"teacher": TEACHER, "kd": student_file("kd"), "sskd": student_file("sskd")}
    weights = weights_folder("fashion-mnist-lab")
    networks = {name: sskd.load_checkpoint(weights / file) for name, file in files.items()}
    atlas = maps.atlas_maps(networks, few.images)
    assert capsys.readouterr().out == ""
    output = sskd.predict(networks["kd"], few)
    np.testing.assert_allclose(atlas.logits[1], output.logits.numpy(), atol=1e-3)
    for space, t in enumerate(atlas.temperatures):
        roots = torch.softmax(output.logits.double() / t, 1).sqrt().numpy()
        assert (atlas.neighbours[1, space] == maps.nearest(roots)).mean() > 0.99  # but for rounding
    card = json.loads((maps.SHIPPED / "card.json").read_text())
    sizes = {path.name: path.stat().st_size for path in maps.SHIPPED.glob("*.npz")}
    assert sizes.keys() == card["files"].keys() and sum(sizes.values()) < 300_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": {}}, "at least one network"),
        (
            {"images": torch.zeros(19, 1, 16, 16, dtype=torch.uint8)},
            "shows 20 to 1,000 images, but these are 19",
        ),
        ({"images": torch.zeros(COUNT, 1, 16, 16)}, "are a uint8 tensor"),
        ({"images": np.zeros((COUNT, 1, 16, 16), np.uint8)}, "are a uint8 tensor"),
        ({"temperatures": ()}, "above 0 and finite"),
        ({"temperatures": (1.0, 0.0)}, "above 0 and finite"),
        ({"temperatures": (float("nan"),)}, "above 0 and finite"),
        ({"networks": {"a": network(), "b": network(num_classes=5)}}, "these have: a 4, b 5"),
        ({"images": torch.zeros(COUNT, 1, 16, 16, dtype=torch.uint8)}, "are all the same"),
    ],
)
def test_what_cannot_be_mapped_is_refused(tmp_path, images, changes, message) -> None:
    given = {"networks": {"net": network()}, "images": images, "temperatures": (1.0,)} | changes
    with pytest.raises(ValueError, match=message):
        maps.atlas_maps(given.pop("networks"), given.pop("images"), folder=tmp_path, **given)


def test_a_network_that_failed_is_refused() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(ValueError, match="contain nan or inf"):
        lab.embed(np.where(vectors == vectors.max(), np.nan, vectors), perplexity=5)
