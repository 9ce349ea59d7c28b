"""The embedded pack, and the names that load_images knows."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sskd_lib.data import archives
from sskd_lib.data import load as data
from sskd_lib.data.load import load_images

DEBIAN = archives.DEBIAN_FASHION_MNIST


pytestmark = pytest.mark.usefixtures("own_home")


# The embedded pack


def test_the_lab_pack_is_what_its_card_says():
    card = json.loads((data.DATA_FOLDER / "fashion-mnist-lab.json").read_text(encoding="utf-8"))
    content = (data.DATA_FOLDER / card["file"]).read_bytes()
    assert len(content) == card["bytes"] < 6_000_000
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    for split, each in card["images_of_each_class"].items():
        images = load_images("fashion-mnist-lab", split)
        assert images.images.shape == (10 * each, 1, 28, 28) and images.images.is_contiguous()
        assert images.labels.bincount().tolist() == [each] * 10
        assert images.classes == tuple(card["classes"]) and images.name == "fashion-mnist-lab"
        assert len({row.tobytes() for row in images.images.numpy()}) > 9.9 * each
    assert card["images_of_each_class"] == {"train": 1000, "test": 200}
    text = " ".join((data.DATA_FOLDER / "LICENSE-fashion-mnist.txt").read_text(encoding="utf-8").split())
    assert "Copyright (c) 2017 Zalando SE, https://tech.zalando.com" in text
    assert (
        "Permission is hereby granted, free of charge" in text and 'THE SOFTWARE IS PROVIDED "AS IS"' in text
    )


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_lab_packs_images_are_the_originals_and_the_script_makes_it_again(tmp_path, monkeypatch):
    with np.load(data.LAB_PACK, allow_pickle=False) as pack:
        for split, size in (("train", 60_000), ("test", 10_000)):
            everything, index = load_images("fashion-mnist", split), pack[f"{split}_index"]
            assert len(everything) == size and len(np.unique(index)) == len(index)
            ours = load_images("fashion-mnist-lab", split)
            assert torch.equal(ours.images, everything.images[index])
            assert torch.equal(ours.labels, everything.labels[index])
    monkeypatch.syspath_prepend(str(data.DATA_FOLDER))
    import make_lab_pack

    monkeypatch.setattr(make_lab_pack, "FOLDER", tmp_path)
    make_lab_pack.main()
    with np.load(data.LAB_PACK) as old, np.load(tmp_path / data.LAB_PACK.name) as new:
        assert old.files == new.files  # the bytes may differ where zlib does
        assert all(np.array_equal(old[name], new[name]) for name in old.files)


def test_a_damaged_or_missing_lab_pack_says_how_to_repair_it(tmp_path, monkeypatch):
    pack = tmp_path / data.LAB_PACK.name
    monkeypatch.setattr(data, "LAB_PACK", pack)
    with pytest.raises(FileNotFoundError, match=r"is missing\. .*git checkout -- data/fashion-mnist-lab.npz"):
        load_images("fashion-mnist-lab")
    pack.write_bytes(b"broken")
    pack.with_suffix(".json").write_text('{"sha256": "1234"}')
    with pytest.raises(ValueError, match=r"is damaged: .*1234.* git checkout"):
        load_images("fashion-mnist-lab")


# Names and splits


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar", r"no data set 'cifar'\. Did you mean 'cifar10'\?.*cifar100, folder:PATH"),
        ("fashion_mnist", "Did you mean 'fashion-mnist'"),
        ("zzz", "no data set 'zzz'. The names are: fashion-mnist-lab, fashion-mnist, cifar10, cifar100"),
        (".", "is a folder; to load the images in it write 'folder:.'"),
    ],
)
def test_a_wrong_name_lists_the_right_ones(name, message):
    with pytest.raises(ValueError, match=message):
        load_images(name)


def test_a_wrong_split_or_a_size_in_the_wrong_place():
    with pytest.raises(ValueError, match="no split 'val'; the splits are 'train' and 'test'"):
        load_images("fashion-mnist-lab", "val")
    with pytest.raises(ValueError, match="size=64 is for folder:PATH only"):
        load_images("cifar10", size=64)


def test_importing_the_data_room_is_light():
    code = (
        "import sys, sskd_lib.data; print([m for m in ('PIL', 'torchvision', 'matplotlib', 'sklearn', "
        "'ipywidgets', 'pandas') if m in sys.modules])"
    )
    root = Path(data.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
