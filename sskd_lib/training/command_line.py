"""The line of a command: its name, the values of its options, and messages for what does not fit."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from tyro import cli
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from ..data.checks import as_path
from ..files import did_you_mean

PROGRAM = "python -m sskd_lib"
LARGEST = 2**63  # whole numbers below it fit everywhere


def run_command(commands: Mapping[str, Callable[..., Any]], words: Sequence[str]) -> None:
    """Run the command that the first word names with the options in the others.

    Prints help for --help. Raises ValueError for a command that is none; SystemExit with status 2, after a
    message, for an option that the command does not have and for a value that does not fit.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without some letter shows "?" for it
    if os.environ.get("NO_COLOR"):
        os.environ["TERM"] = "dumb"  # the sign by which tyro leaves colours out
    if not words or words[0] in ("-h", "--help"):
        print(describe_commands(commands))
        sys.exit(0 if words else 2)
    name, *rest = words
    if name.startswith("-"):
        raise ValueError(f"the name of a command comes first, then its options: {PROGRAM} COMMAND {name} …")
    if name not in commands:
        raise ValueError(
            f"there is no command {name!r}.{did_you_mean(name, commands)} The commands are: "
            f"{', '.join(commands)}; {PROGRAM} COMMAND --help lists the options of one."
        )
    cli(commands[name], prog=f"{PROGRAM} {name}", args=rest, registry=READERS)


def describe_commands(commands: Mapping[str, Callable[..., Any]]) -> str:
    """Return the help of all commands: one line each."""
    wide = max(map(len, commands))
    first_lines = {name: (run.__doc__ or "").splitlines()[0] for name, run in commands.items()}
    lines = "\n".join(f"  {name:<{wide}}  {text}" for name, text in first_lines.items())
    return f"usage: {PROGRAM} COMMAND [OPTIONS]\n\n{lines}\n\n{PROGRAM} COMMAND --help lists its options."


# ---- values of options ---------------------------------------------------------------------------


def read_whole(text: str) -> int:
    """Read a whole number. Raises ValueError for other text and for a number of more than 18 digits."""
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number, such as 20.") from None
    if abs(number) >= LARGEST:
        raise ValueError(f"{text} is too large: a whole number has at most 18 digits here.")
    return number


def read_number(text: str) -> float:
    """Read a number. Raises ValueError for other text."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number, such as 0.05.") from None


def read_pairs(words: Sequence[str]) -> dict[str, float]:
    """Read names, each with a number behind it. Raises ValueError for anything else."""
    if len(words) % 2:
        raise ValueError(f"names and numbers come in pairs, such as ss 5, but {words[-1]!r} is without.")
    return {name: read_number(text) for name, text in zip(words[::2], words[1::2], strict=True)}


def _read_choice(choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            hint = did_you_mean(text, choices)
            raise ValueError(f"there is no {text!r} here.{hint} The choices are: {', '.join(choices)}.")
        return text

    return read


KINDS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("INT", read_whole),
    float: ("FLOAT", read_number),
    Path: ("PATH", as_path),
    str: ("STR", str),
}
READERS = ConstructorRegistry()


@READERS.primitive_rule
def reader_of(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Return how an option's text becomes one value or several, for the kinds of values that options have."""
    kind = info.type
    if kind == dict[str, float]:
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar="NAME FLOAT [NAME FLOAT ...]",
            instance_from_str=read_pairs,
            is_instance=lambda value: isinstance(value, dict),
            str_from_instance=lambda value: [str(part) for pair in value.items() for part in pair],
        )
    optional = get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)
    if optional:
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    several = get_origin(kind) is tuple and get_args(kind)[1:] == (Ellipsis,)
    each = get_args(kind)[0] if several else kind
    if get_origin(each) is Literal:
        choices = get_args(each)
        metavar, read = "{" + ",".join(choices) + "}", _read_choice(choices)
    elif each in KINDS:
        metavar, read = KINDS[each]
    else:
        return None
    return PrimitiveConstructorSpec(
        nargs="*" if several else 1,
        metavar=f"{metavar} [{metavar} ...]" if several else metavar,
        instance_from_str=lambda words: tuple(map(read, words)) if several else read(words[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: [
            str(one) for one in (value if isinstance(value, tuple) else [value])
        ],
    )
