"""The layout of a folder of images: its splits, its classes, and what is left out."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from .image_files import KINDS, readable_suffixes

LAYOUT = (
    "Expected: one sub-folder of images per class, as in PATH/cat/1.jpg, or splits above the classes, as in "
    "PATH/train/cat/1.jpg and PATH/test/cat/2.jpg."
)
HELD_OUT = 5  # without a test/ level, one image of so many is held out
LEVELS = {  # how the folder of a split may be spelled, in small or capital letters
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
}
CLUTTER = {  # made by file servers and systems, not by the owner of the images
    "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "__pycache__",
    "$recycle.bin", "lost+found", "system volume information", "thumbs.db", "desktop.ini",
}  # fmt: skip


def list_images(folder: Path) -> tuple[tuple[str, ...], list[Path], np.ndarray, np.ndarray]:
    """List the images of a folder, always in the same order.

    Returns (class names, sorted; M files; labels, int64 [M]; whether it is a test image, bool [M]). Test
    images are those below test/ or, without it, below val/, in any spelling in LEVELS. A warning counts
    what is left out; hidden files and CLUTTER are passed over without one.
    Raises FileNotFoundError if there is no such folder; ValueError if its layout does not fit, the classes of
    train/ and test/ differ, or a class has too few images.
    """
    if not folder.is_dir():
        why = " (it is a file: unpack an archive first)" if folder.is_file() else ""
        raise FileNotFoundError(f"there is no folder {folder}{why}. {LAYOUT}")
    roots = _roots(folder)
    classes, readable = _classes(roots), readable_suffixes()
    files: list[Path] = []
    labels: list[int] = []
    is_test: list[bool] = []
    left_out: Counter[str] = Counter()
    for root in roots:
        beside = [file for file in _entries(root)[1] if _suffix(file) in readable]
        left_out["beside the folders of the classes"] += len(beside)
        for label, name in enumerate(classes):
            listed = sorted(_walk(root / name))
            images = [Path(file) for file in listed if _suffix(file) in readable]
            others = Counter(_suffix(file) or "without a suffix" for file in listed)
            for suffix in readable:
                del others[suffix]
            _check_count(root / name, len(images), 1 if len(roots) == 2 else HELD_OUT, others)
            left_out += others
            files += images
            labels += [label] * len(images)
            is_test += [root != roots[0]] * len(images)
    if left_out:
        _warn_left_out(folder, left_out)
    return classes, files, np.array(labels, dtype=np.int64), np.array(is_test, dtype=bool)


# ---- splits --------------------------------------------------------------------------------------


def _roots(folder: Path) -> list[Path]:
    """Return the folders above the classes: the training level and the test level, or the folder itself.

    Raises ValueError for two folders of one split, and for a test level without a training level.
    """
    levels: dict[str, str] = {}
    for name in _entries(folder)[0]:
        level = LEVELS.get(name.casefold())
        if level and _entries(folder / name)[0]:
            if level in levels:
                raise ValueError(
                    f"{folder} has two folders for one split, {levels[level]}/ and {name}/. Put all of its "
                    "images into one of them, or move the other away."
                )
            levels[level] = name
    if not levels:
        return [folder]
    if "train" not in levels:
        raise ValueError(f"{folder} has a {min(levels.values())}/ level but no train/. {LAYOUT}")
    test = levels.get("test") or levels.get("val")  # with test/ there, val/ is left alone
    used = [levels["train"], *([test] if test else [])]
    _check_other_folders(folder, used)
    return [folder / name for name in used]


def _check_other_folders(folder: Path, used: list[str]) -> None:
    """Warn of folders with images beside the levels. Raises ValueError for one that must be a split, too."""
    classes, left_out = set(_entries(folder / used[0])[0]), []
    for name in _entries(folder)[0]:
        level, inside = LEVELS.get(name.casefold()), set(_entries(folder / name)[0])
        if name in used or (level == "val" and len(used) == 2):
            continue
        if not level and classes & inside:
            raise ValueError(
                f"{folder / name} has sub-folders named as those in {used[0]}/, but {name!r} is not the name "
                "of a split. Rename it to test, or move it away."
            )
        if _has_images(folder / name):
            if level and len(used) == 1:
                raise ValueError(
                    f"{folder / name} has images, but not in one sub-folder per class. Sort them into "
                    f"folders named as those in {used[0]}/, or move {name}/ away to have a fifth of "
                    f"{used[0]}/ held out instead."
                )
            left_out.append(f"{name}/")
    if left_out:
        both = " and ".join(f"{name}/" for name in used)
        _warn(f"{folder}: images are read from {both} only; those in {', '.join(left_out)} are left out.")


# ---- classes -------------------------------------------------------------------------------------


def _classes(roots: list[Path]) -> tuple[str, ...]:
    """Return the names of the classes. Raises ValueError unless there are two, the same in each split."""
    names = [_entries(root)[0] for root in roots]
    if len(names) == 2 and names[0] != names[1]:
        only = [_some(set(names[0]) - set(names[1])), _some(set(names[1]) - set(names[0]))]
        raise ValueError(
            f"{roots[0]} and {roots[1]} have different classes: "
            f"only in {roots[0].name}/: {only[0]}; only in {roots[1].name}/: {only[1]}."
        )
    if len(names[0]) < 2:
        raise ValueError(_too_few_classes(roots[0], names[0]))
    if len({LEVELS.get(name.casefold()) for name in names[0]} - {None}) > 1:
        raise ValueError(
            f"{roots[0]} has the splits {' and '.join(f'{name}/' for name in names[0])}, but in them no "
            f"sub-folders for the classes. {LAYOUT}"
        )
    inside = {frozenset(_entries(roots[0] / name)[0]) for name in names[0]}
    if len(inside) == 1 and len(min(inside)) > 1 and not any(_entries(roots[0] / n)[1] for n in names[0]):
        raise ValueError(
            f"every sub-folder of {roots[0]} ({_some(set(names[0]))}) holds the same sub-folders "
            f"({_some(set(min(inside)))}), so these are splits, or classes that are split below. {LAYOUT}"
        )
    return tuple(names[0])


def _too_few_classes(root: Path, names: list[str]) -> str:
    """Return what is wrong with a folder of less than two sub-folders, and which one may be meant."""
    if (root / "card.json").is_file():
        return f"{root} is not a folder of images, but a set of the command `shards`: write 'shards:{root}'."
    near = [root / name for name in names if len(_entries(root / name)[0]) > 1]
    hint = f"Did you mean 'folder:{near[0]}'?" if near else LAYOUT
    return f"{root} has {len(names)} sub-folders; at least two classes are needed. {hint}"


def _check_count(folder: Path, count: int, least: int, others: Counter[str]) -> None:
    if count >= least:
        return
    besides = f", and {_counted(others)} of other kinds (convert pictures to PNG)" if others else ""
    if least == 1:
        raise ValueError(f"{folder} has no image ({KINDS}){besides}; add some or delete the folder.")
    raise ValueError(
        f"{folder} has {count} images{besides}; every class needs at least {least}, because a fifth of "
        "them is held out for testing. Add images, or make a train/ and a test/ level yourself."
    )


# ---- entries -------------------------------------------------------------------------------------


def _is_clutter(name: str) -> bool:
    return name[0] == "." or name.casefold() in CLUTTER


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the sub-folders and of the files of a folder, sorted, without clutter."""
    folders: list[str] = []
    files: list[str] = []
    for entry in os.scandir(folder) if folder.is_dir() else ():
        if not _is_clutter(entry.name):
            (folders if entry.is_dir() else files).append(entry.name)
    return sorted(folders), sorted(files)


def _walk(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, without clutter."""
    listed = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_clutter(name)]
        listed += [os.path.join(place, name) for name in names if not _is_clutter(name)]
    return listed


def _has_images(folder: Path) -> bool:
    return any(_suffix(file) in readable_suffixes() for file in _walk(folder))


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


# ---- warnings ------------------------------------------------------------------------------------


def _counted(others: Counter[str]) -> str:
    """Return counts in words: "12 files (10 .heic, 2 .txt)"."""
    total = others.total()
    parts = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
    return f"{total} file{'s' * (total != 1)} ({parts})"


def _warn_left_out(folder: Path, left_out: Counter[str]) -> None:
    _warn(
        f"left out of {folder}: {_counted(left_out)}. The kit reads {KINDS} in the folders of the classes; "
        "convert other pictures to PNG or JPEG."
    )


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
