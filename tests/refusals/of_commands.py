"""Bad options and arguments of the commands."""

from __future__ import annotations

from pathlib import Path

from helpers.refusals import command, tried


@tried("`distill` with a method's name in capitals")
def method_in_capitals(folder: Path) -> None:
    command("distill", "--method", "SSKD", "--epochs", 1, "--out", folder / "run")
