"""What a file is that was given as a checkpoint and is none, in words, and what to do with it."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["explain_folder", "explain_other_kind"]

GIVE = (
    "Give the .safetensors file that train_teacher, train_head or distill (commands: teacher, head, distill) "
    "wrote."
)


def explain_other_kind(path: Path, remedy: str = GIVE) -> str:
    """Return what a file is whose beginning shows that it is no safetensors file; "" if it may be one."""
    with open(path, "rb") as file:
        start = file.read(4096)
    if start[8:9] == b"{":  # a safetensors file: its header, after the eight bytes of its length
        return ""
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5"):
        return _explain_archive(path, remedy)
    if start[:6] == b"\x93NUMPY":
        return _explain_arrays(path, remedy)
    if not start.strip():
        return f"{path} is empty. Nothing was loaded. {remedy}"
    if _is_text(start):
        line = start.decode("utf-8", "ignore").strip().partition("\n")[0][:40]
        return f"{path} is a text file, which begins {line!r}. Nothing was loaded. {remedy}"
    return ""


def explain_folder(path: Path, what: str, ending: str) -> str:
    """Return which files with an ending are in a folder, or beside a file that is not there, as a hint."""
    if path.is_dir():
        inside = sorted(file.name for file in path.glob(f"*{ending}"))
        return f"{path} is a folder, not a file. " + (
            f"Give a file in it: {', '.join(inside)}." if inside else f"It has no {ending} file."
        )
    if path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which is not there. Check where that file is now."
    near = sorted(file.name for file in path.parent.glob(f"*{ending}")) if path.parent.is_dir() else []
    return f"there is no {what} {path}. " + (
        f"That folder has: {', '.join(near)}." if near else "Train one first, or check the path."
    )


def is_resume_file(path: Path) -> bool:
    """Return whether a file is the saved state of a training, which holds a network and more."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return any(b"sskd-kit-resume" in archive.read(name) for name in names)
    except (zipfile.BadZipFile, OSError, RuntimeError):
        return False


def explain_resume(path: Path) -> str:
    """Return what a training's saved state is for."""
    return (
        f"{path} is the saved state of a training, not its result. Nothing was loaded. Repeat the same "
        "command or call to go on with that training; its result is a .safetensors file in the same folder."
    )


def _explain_archive(path: Path, remedy: str) -> str:
    """Explain a zip file or a pickle: arrays, a training's state, or weights of torch.save."""
    if is_resume_file(path):
        return explain_resume(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith(".npy") for name in names):
            return _explain_arrays(path, remedy)
        if not any(name.endswith("data.pkl") for name in names):
            return f"{path} is a zip file and no checkpoint. Nothing was loaded. {remedy}"
    return (
        f"{path} is a pickle, as torch.save writes them (.pth, .pt). A pickle can run any code, so the kit "
        "opens none: its own checkpoints are .safetensors files. Nothing was loaded. Of a published network, "
        f'load_checkpoint(path, format="repdistiller") takes the tensors and no more. For the commands, '
        "convert it once: python -c \"import sskd_lib as s; s.save_checkpoint('new.safetensors', "
        f"s.load_checkpoint('{path}', format='repdistiller'), {{}})\""
    )


def _explain_arrays(path: Path, remedy: str) -> str:
    return f"{path} holds arrays of NumPy, such as images, and no network. Nothing was loaded. {remedy}"


def _is_text(start: bytes) -> bool:
    """Return whether the first bytes of a file are readable text (the last character may be cut)."""
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return False
        text = start[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter.isspace() for letter in text)
