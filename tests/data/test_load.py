"""The names that load_images knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sskd_lib.data import load as data
from sskd_lib.data.load import load_images

pytestmark = pytest.mark.usefixtures("own_home")


# Names and splits


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar", r"no data set 'cifar'\. Did you mean 'cifar10'\?.*cifar100, folder:PATH"),
        ("fashion_mnist", "Did you mean 'fashion-mnist'"),
        ("groceries", "Did you mean 'grocery'"),
        (
            "zzz",
            "no data set 'zzz'. The names are: fashion-mnist-lab, grocery, fashion-mnist, cifar10, cifar100",
        ),
        (".", "is a folder; to load the images in it write 'folder:.'"),
    ],
)
def test_a_wrong_name_lists_the_right_ones(name, message):
    with pytest.raises(ValueError, match=message):
        load_images(name)


def test_a_wrong_split_or_a_size_in_the_wrong_place():
    with pytest.raises(ValueError, match="no split 'val'; the splits are 'train' and 'test'"):
        load_images("fashion-mnist-lab", "val")
    for name in ("cifar10", "grocery"):
        with pytest.raises(ValueError, match="size=64 is for folder:PATH only"):
            load_images(name, size=64)


def test_importing_the_data_room_is_light():
    code = (
        "import sys, sskd_lib.data; print([m for m in ('PIL', 'torchvision', 'matplotlib', 'sklearn', "
        "'ipywidgets', 'pandas') if m in sys.modules])"
    )
    root = Path(data.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
