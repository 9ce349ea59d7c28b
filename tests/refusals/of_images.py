"""Bad folders, files, archives, names and tensors of images."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import sskd_lib as sskd
from helpers.image_folders import noise, save_image
from helpers.refusals import command, tried
from sskd_lib.data.archives import parse_idx
from sskd_lib.data.folder import make_shards
from sskd_lib.data.images import ImageSet
from sskd_lib.evaluation import predict
from sskd_lib.training.options import TrainingOptions


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Keep the converted images in this folder, not in the user's."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


def make(folder: Path, *places: str, count: int = 5) -> Path:
    """Make a folder of images: `count` of them in each place, for example "train/cat"."""
    for number, place in enumerate(places):
        for index in range(count):
            save_image(folder / "set" / place / f"{index}.png", noise(100 * number + index, 8))
    return folder / "set"


def load(folder: Path, **options: object) -> ImageSet:
    with own_cache(folder):
        return sskd.load_images(f"folder:{folder / 'set'}", size=8, **options)


def splits(folder: Path, first: str, second: str) -> Path:
    return make(folder, *(f"{split}/{name}" for split in (first, second) for name in ("cat", "dog")))


# ---- layouts of folders --------------------------------------------------------------------------


@tried("a folder that does not exist")
def no_folder(folder: Path) -> None:
    load(folder)


@tried("an archive in the place of a folder")
def archive_for_folder(folder: Path) -> None:
    (folder / "set").write_bytes(b"PK")
    load(folder)


@tried("`folder:` without a path")
def folder_alone(folder: Path) -> None:
    sskd.load_images("folder:")


@tried("`shards:` without a path")
def shards_alone(folder: Path) -> None:
    sskd.load_images("shards: ")


@tried("a folder in the home of a user who does not exist")
def other_home(folder: Path) -> None:
    sskd.load_images("folder:~nobody-of-this-name/pets")


@tried("a folder with images and no sub-folders")
def no_classes(folder: Path) -> None:
    make(folder, ".")
    load(folder)


@tried("a folder with one class")
def one_class(folder: Path) -> None:
    make(folder, "cat")
    load(folder)


@tried("a folder around the folder of the classes, as an archive unpacks it, with __MACOSX")
def wrapped(folder: Path) -> None:
    make(folder, "pets/cat", "pets/dog", "__MACOSX/pets/cat")
    load(folder)


@tried("a folder of splits called part1 and part2")
def unknown_splits(folder: Path) -> None:
    splits(folder, "part1", "part2")
    load(folder)


@tried("splits below the classes")
def splits_below(folder: Path) -> None:
    splits(folder, "lion", "tiger")
    for name in ("lion", "tiger"):
        (folder / "set" / name / "cat").rename(folder / "set" / name / "train")
        (folder / "set" / name / "dog").rename(folder / "set" / name / "test")
    load(folder)


@tried("train/ and test/ without folders for the classes")
def flat_splits(folder: Path) -> None:
    make(folder, "train", "test")
    load(folder)


@tried("train/ with classes, test/ without")
def flat_test(folder: Path) -> None:
    make(folder, "train/cat", "train/dog", "test")
    load(folder)


@tried("Train/ with classes, Validation/ without")
def flat_validation(folder: Path) -> None:
    make(folder, "Train/cat", "Train/dog", "Validation")
    load(folder)


@tried("train/ and val/ with classes, test/ without")
def flat_test_beside_val(folder: Path) -> None:
    splits(folder, "train", "val")
    make(folder, "test")
    load(folder)


@tried("train/ and a split called holdout/")
def holdout(folder: Path) -> None:
    splits(folder, "train", "holdout")
    load(folder)


@tried("train/, test/ and a folder with other images")
def extra(folder: Path) -> None:
    splits(folder, "train", "test")
    make(folder, "unlabelled")
    load(folder)


@tried("val/ and valid/ beside train/")
def two_spellings(folder: Path) -> None:
    splits(folder, "train", "val")
    splits(folder, "train", "valid")
    load(folder)


@tried("test/ without train/")
def no_train(folder: Path) -> None:
    splits(folder, "Test", "rest")
    load(folder)


@tried("train/ and test/ with different classes")
def different_classes(folder: Path) -> None:
    make(folder, "train/cat", "train/dog", "test/cat", "test/Dog")
    load(folder)


@tried("a class with three images, of which a fifth is held out")
def few_images(folder: Path) -> None:
    make(folder, "cat")
    make(folder, "dog", count=3)
    load(folder)


@tried("a class with .heic files only")
def heic_only(folder: Path) -> None:
    make(folder, "cat")
    (folder / "set" / "dog").mkdir()
    for index in range(5):
        (folder / "set" / "dog" / f"{index}.heic").write_bytes(b"ftypheic")
    load(folder)


@tried("a class without images in test/")
def empty_class(folder: Path) -> None:
    splits(folder, "train", "test")
    shutil.rmtree(folder / "set" / "test" / "dog")
    (folder / "set" / "test" / "dog").mkdir()
    load(folder)


# ---- files in folders ----------------------------------------------------------------------------


@tried("files that are no images, and images beside the classes")
def skipped(folder: Path) -> None:
    make(folder, "cat", "dog", ".")
    for name in ("1.heic", "2.heic", "notes.txt"):
        (folder / "set" / "cat" / name).write_bytes(b"x")
    load(folder)


@tried("one broken image among twelve")
def one_broken(folder: Path) -> None:
    make(folder, "cat", "dog", count=6)
    (folder / "set" / "dog" / "3.png").write_bytes(b"")
    load(folder)


@tried("two broken images among ten")
def many_broken(folder: Path) -> None:
    make(folder, "cat", "dog")
    for index in (1, 2):
        (folder / "set" / "dog" / f"{index}.png").write_bytes(b"no image")
    load(folder)


@tried("a class whose only test image is broken")
def class_broken(folder: Path) -> None:
    make(folder, "train/cat", "train/dog", count=10)
    make(folder, "test/cat", "test/dog", count=1)
    (folder / "set" / "test" / "dog" / "0.png").write_bytes(b"no image")
    load(folder)


@tried("a broken image for the command `shards`")
def broken_for_shards(folder: Path) -> None:
    make(folder, "cat", "dog")
    for file in (folder / "set" / "dog").iterdir():
        file.write_bytes(b"no image")
    make_shards(folder / "set", folder / "out", side=8, progress=False)


@tried("a link to an image that was deleted")
def dangling(folder: Path) -> None:
    make(folder, "cat", "dog")
    (folder / "set" / "cat" / "9.png").symlink_to(folder / "nowhere.png")
    load(folder)


def with_one(folder: Path, name: str, content: bytes) -> None:
    """Load a folder with this file among others."""
    (make(folder, "cat", "dog") / "cat" / name).write_bytes(content)
    load(folder)


def tiff(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "tiff")
    return content.getvalue()


def png16(pixels: np.ndarray) -> bytes:
    """Return a PNG with 16 bits of colour, which Pillow cannot write. pixels: [H, W, 3]."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    )


@tried("a TIFF of floats from 0 to 255")
def floats_255(folder: Path) -> None:
    with_one(folder, "f.tif", tiff(np.linspace(0, 255, 64, dtype=np.float32).reshape(8, 8)))


@tried("a TIFF of floats with NaN")
def floats_nan(folder: Path) -> None:
    with_one(folder, "f.tif", tiff(np.full((8, 8), np.nan, np.float32)))


@tried("a PNG of 16 bits with values of 0 to 255")
def small_16(folder: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 4).save(content, "png")
    with_one(folder, "s.png", content.getvalue())


@tried("a TIFF of 12 bits in 16")
def twelve_bits(folder: Path) -> None:
    with_one(folder, "t.tiff", tiff(np.arange(64, dtype=np.uint16).reshape(8, 8) * 65))


@tried("a TIFF of 32 bits with values above 65535")
def thirty_two_bits(folder: Path) -> None:
    with_one(folder, "t.tiff", tiff(np.arange(64, dtype=np.int32).reshape(8, 8) * 2000))


@tried("a colour PNG of 16 bits with values of 0 to 255")
def small_colour(folder: Path) -> None:
    with_one(folder, "c.png", png16(np.arange(192).reshape(8, 8, 3)))


# ---- names ---------------------------------------------------------------------------------------


@tried("the data set CIFAR10")
def capitals(folder: Path) -> None:
    sskd.load_images("CIFAR10")


@tried("the data set cifar-10")
def with_hyphen(folder: Path) -> None:
    sskd.load_images("cifar-10")


@tried("the data set fashionmnist")
def without_hyphen(folder: Path) -> None:
    sskd.load_images("fashionmnist")


@tried("the data set imagenet, which is none of the kit's")
def unknown_name(folder: Path) -> None:
    sskd.load_images("imagenet")


@tried("an empty name of a data set")
def empty_name(folder: Path) -> None:
    sskd.load_images("")


@tried("a folder's path without `folder:`")
def bare_path(folder: Path) -> None:
    sskd.load_images(str(folder))


@tried("a pathlib.Path as the name of a data set")
def path_as_name(folder: Path) -> None:
    sskd.load_images(folder)


@tried("a number as the name of a data set")
def number_as_name(folder: Path) -> None:
    sskd.load_images(10)


@tried("the split val")
def wrong_split(folder: Path) -> None:
    sskd.load_images("fashion-mnist-lab", "val")


@tried("a size of 0 pixels")
def no_size(folder: Path) -> None:
    sskd.load_images(f"folder:{folder}", size=0)


@tried("a size of 28.5 pixels")
def broken_size(folder: Path) -> None:
    sskd.load_images(f"folder:{folder}", size=28.5)


@tried("a size for a data set that has its own")
def own_size(folder: Path) -> None:
    sskd.load_images("grocery", size=64)


@tried("a root that does not exist")
def no_root(folder: Path) -> None:
    sskd.load_images("cifar10", root=folder / "data")


@tried("a root that is a file")
def root_file(folder: Path) -> None:
    (folder / "cifar-10-python.tar.gz").write_bytes(b"")
    command(
        "teacher", "--data", "cifar10", "--root", folder / "cifar-10-python.tar.gz", "--out", folder / "t"
    )


# ---- archives and sets on disk -------------------------------------------------------------------


@tried("an archive of CIFAR-10 that was cut short")
def cut_archive(folder: Path) -> None:
    (folder / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    sskd.load_images("cifar10", root=folder)


@tried("a batch file of CIFAR-10 with another content (a pickle)")
def other_pickle(folder: Path) -> None:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "batches.meta"]
    for name in names:
        (folder / name).write_bytes(b"\x80\x02}.")
    sskd.load_images("cifar10", root=folder)


@tried("a file of Fashion-MNIST that was cut short")
def cut_fashion(folder: Path) -> None:
    (folder / "fashion-mnist").mkdir()
    whole = gzip.compress(bytes(1000), mtime=0)
    (folder / "fashion-mnist" / "train-images-idx3-ubyte.gz").write_bytes(whole[:-10])
    sskd.load_images("fashion-mnist", root=folder)


@tried("an idx file whose header announces more bytes than follow")
def cut_idx(folder: Path) -> None:
    parse_idx(b"\x00\x00\x08\x01" + struct.pack(">i", 100) + bytes(99))


def shards(folder: Path) -> Path:
    """Make a small set on disk."""
    make_shards(make(folder, "cat", "dog"), folder / "out", side=8, progress=False)
    return folder / "out"


def change_card(out: Path, **changes: object) -> None:
    card = json.loads((out / "card.json").read_text())
    (out / "card.json").write_text(json.dumps(card | changes))


@tried("`shards:` of a folder that does not exist")
def no_shards(folder: Path) -> None:
    sskd.load_images(f"shards:{folder / 'out'}")


@tried("`shards:` of a folder of images")
def images_as_shards(folder: Path) -> None:
    sskd.load_images(f"shards:{make(folder, 'cat', 'dog')}")


@tried("`folder:` of a set on disk")
def shards_as_folder(folder: Path) -> None:
    sskd.load_images(f"folder:{shards(folder)}")


@tried("the path of a set on disk without `shards:`")
def bare_shards(folder: Path) -> None:
    sskd.load_images(str(shards(folder)))


@tried("a set on disk whose conversion was interrupted")
def unfinished(folder: Path) -> None:
    out = shards(folder)
    part = json.loads((out / "card.json").read_text())["train"]
    change_card(out, train=part | {"done": 3})
    sskd.load_images(f"shards:{out}")


@tried("a set on disk without its labels")
def no_labels(folder: Path) -> None:
    out = shards(folder)
    (out / "train-labels.npy").unlink()
    sskd.load_images(f"shards:{out}")


@tried("a set on disk whose pixels were cut short")
def cut_pixels(folder: Path) -> None:
    out = shards(folder)
    os.truncate(out / "train.npy", 500)
    sskd.load_images(f"shards:{out}")


@tried("a card of a set on disk that lacks an entry")
def broken_card(folder: Path) -> None:
    out = shards(folder)
    change_card(out, train={"images": 8})
    sskd.load_images(f"shards:{out}")


@tried("a card of a set on disk that is no JSON")
def no_json(folder: Path) -> None:
    out = shards(folder)
    (out / "card.json").write_text("no JSON")
    sskd.load_images(f"shards:{out}")


@tried("`shards` into a folder with other images")
def other_shards(folder: Path) -> None:
    out = shards(folder)
    make_shards(folder / "set", out, side=16, progress=False)


@tried("`shards` into the folder of images itself")
def shards_inside(folder: Path) -> None:
    make(folder, "cat", "dog")
    command("shards", "--folder", folder / "set", "--out", folder / "set" / "out", "--side", 8)


@tried("`shards --side 0`")
def no_side(folder: Path) -> None:
    make(folder, "cat", "dog")
    command("shards", "--folder", folder / "set", "--out", folder / "out", "--side", 0)


# ---- image sets ----------------------------------------------------------------------------------

PIXELS = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
LABELS = torch.arange(8) % 4
CLASSES = ("ant", "bee", "cat", "dog")


def image_set(images: object = PIXELS, labels: object = LABELS, classes: object = CLASSES) -> ImageSet:
    return ImageSet(images=images, labels=labels, classes=classes, name="mine")


@tried("a numpy array as images, channels last")
def numpy_images(folder: Path) -> None:
    image_set(np.zeros((8, 16, 16, 3), np.uint8))


@tried("a numpy array of floats as grey images")
def numpy_floats(folder: Path) -> None:
    image_set(np.zeros((8, 16, 16)))


@tried("a list of PIL pictures as images")
def pictures(folder: Path) -> None:
    image_set([Image.new("RGB", (16, 16))] * 8)


@tried("a list of tensors as images")
def list_of_tensors(folder: Path) -> None:
    image_set(list(PIXELS))


@tried("a path as images")
def path_as_images(folder: Path) -> None:
    image_set("pets/cat")


@tried("a tensor with the channels last")
def channels_last(folder: Path) -> None:
    image_set(PIXELS.permute(0, 2, 3, 1))


@tried("a tensor of grey images without the axis of the channel")
def no_channel(folder: Path) -> None:
    image_set(PIXELS[:, 0])


@tried("images with transparency")
def transparent(folder: Path) -> None:
    image_set(torch.zeros(8, 4, 16, 16, dtype=torch.uint8))


@tried("images that are not square")
def not_square(folder: Path) -> None:
    image_set(PIXELS[..., :12])


@tried("float images")
def float_images(folder: Path) -> None:
    image_set(PIXELS / 255)


@tried("no image")
def empty_set(folder: Path) -> None:
    image_set(PIXELS[:0], LABELS[:0])


@tried("a set whose pixels are 0 and 1")
def black(folder: Path) -> None:
    sskd.create_network("resnet8", like=image_set(PIXELS + (torch.arange(16) % 2).to(torch.uint8)))


@tried("labels in a list")
def list_labels(folder: Path) -> None:
    image_set(labels=[0, 1, 2, 3] * 2)


@tried("labels in a numpy array")
def numpy_labels(folder: Path) -> None:
    image_set(labels=np.arange(8) % 4)


@tried("labels as floats")
def float_labels(folder: Path) -> None:
    image_set(labels=LABELS.float())


@tried("labels with one column for each class")
def one_hot(folder: Path) -> None:
    image_set(labels=torch.eye(4)[LABELS])


@tried("fewer labels than images")
def few_labels(folder: Path) -> None:
    image_set(labels=LABELS[:7])


@tried("labels that count from 1")
def from_one(folder: Path) -> None:
    image_set(labels=LABELS + 1)


@tried("a label of -1")
def negative(folder: Path) -> None:
    image_set(labels=LABELS - 1)


@tried("fewer classes than labels")
def few_classes(folder: Path) -> None:
    image_set(classes=("ant", "bee"))


@tried("the number of classes in the place of their names")
def class_count(folder: Path) -> None:
    image_set(classes=4)


@tried("classes in a list")
def class_list(folder: Path) -> None:
    image_set(classes=list(CLASSES))


# ---- subsets and noise ---------------------------------------------------------------------------


@tried("`--labels 7` of ten classes")
def seven_labels(folder: Path) -> None:
    command("teacher", "--labels", 7, "--out", folder / "out")


@tried("`--labels 0`")
def zero_labels(folder: Path) -> None:
    command("teacher", "--labels", 0, "--out", folder / "out")


@tried("`--labels` above the number of images")
def many_labels(folder: Path) -> None:
    command("teacher", "--labels", 20000, "--out", folder / "out")


@tried("`--label-noise 0.02` on 20 labels")
def no_noise(folder: Path) -> None:
    command("teacher", "--labels", 20, "--label-noise", 0.02, "--out", folder / "out")


@tried("`--label-noise 20`, meant as percent")
def noise_percent(folder: Path) -> None:
    command("teacher", "--label-noise", 20, "--out", folder / "out")


@tried("`--held-out 0.0001`")
def tiny_held_out(folder: Path) -> None:
    TrainingOptions(held_out=0.0001).images()


@tried("`--held-out 0.9999`")
def large_held_out(folder: Path) -> None:
    TrainingOptions(held_out=0.9999).images()


@tried("`--held-out 0.00001`, less than one image")
def less_than_one(folder: Path) -> None:
    TrainingOptions(held_out=0.00001).images()


@tried("`--held-out 10`, meant as percent")
def held_out_percent(folder: Path) -> None:
    TrainingOptions(held_out=10).images()


@tried("`take(2.5)`")
def part_of_an_image(folder: Path) -> None:
    image_set().take(2.5)


@tried("a text as a seed")
def text_seed(folder: Path) -> None:
    image_set().take(4, seed="1")


@tried("a text as a rate of noise")
def text_rate(folder: Path) -> None:
    image_set().with_label_noise("0.2")


# ---- images for networks -------------------------------------------------------------------------


def network(channels: int = 3) -> sskd.models.network.Network:
    with warnings.catch_warnings():
        return sskd.create_network("resnet8", like=image_set(PIXELS[:, :channels]))


@tried("a network given pixels of 0 to 255 as floats")
def bright_pixels(folder: Path) -> None:
    network()(torch.full((2, 3, 16, 16), 255.0))


@tried("a network given uint8 pixels")
def uint8_pixels(folder: Path) -> None:
    network()(PIXELS)


@tried("a colour network given grey images")
def grey_images(folder: Path) -> None:
    sskd.evaluate(network(), image_set(PIXELS[:, :1]))


@tried("a grey network given colour images")
def colour_images(folder: Path) -> None:
    predict(network(1), PIXELS)


@tried("a colour network trained on grey images")
def trained_on_grey(folder: Path) -> None:
    sskd.train_teacher(network(), image_set(PIXELS[:, :1]))


@tried("a name in the place of an ImageSet, to evaluate")
def name_for_evaluate(folder: Path) -> None:
    sskd.evaluate(network(), "cifar10")


@tried("a path in the place of an ImageSet, to train")
def path_for_training(folder: Path) -> None:
    sskd.train_teacher(network(), Path("pets"))


@tried("a numpy array in the place of the test images")
def numpy_for_test(folder: Path) -> None:
    sskd.distill(network(), None, image_set(), np.zeros((8, 3, 16, 16)), method="ce")


@tried("a tensor in the place of an ImageSet, to make a network")
def tensor_for_network(folder: Path) -> None:
    sskd.create_network("resnet8", like=PIXELS)


@tried("float images for four_views")
def float_views(folder: Path) -> None:
    sskd.four_views(PIXELS / 255)


@tried("a numpy array for four_views")
def numpy_views(folder: Path) -> None:
    sskd.four_views(np.zeros((8, 3, 16, 16), np.uint8))


@tried("images that are not square for four_views")
def wide_views(folder: Path) -> None:
    sskd.four_views(PIXELS[..., :12])
