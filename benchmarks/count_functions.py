"""Count the functions of the kit that a training enters: how far a reader follows one step.

    python benchmarks/count_functions.py                        # kd, sskd and at
    python benchmarks/count_functions.py --methods sskd --list  # with the names

Trains resnet8 with a teacher resnet8 on 20 images in two batches, under a profiler. Two counts: functions
entered until the end of the first optimizer step, and in one steady step (from there to the end of the
second). A function counts once. Lambdas, comprehensions, generator expressions and imports do not count, nor
does what Python generates (the constructors of named tuples and dataclasses).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NamedTuple

import tyro
from torch.optim.optimizer import register_optimizer_step_post_hook

import sskd_lib as sskd

LIBRARY = Path(sskd.__file__).parent
IMAGES, BATCH = 20, 10


class Function(NamedTuple):
    """A function by its file, relative to sskd_lib/, and its qualified name."""

    file: str
    name: str


def entered(method: str) -> tuple[list[Function], list[Function]]:
    """Return (functions entered until the first optimizer step, those of one steady step), sorted."""
    train = sskd.load_images("fashion-mnist-lab").take(IMAGES)
    student, teacher = (sskd.create_network("resnet8", train, projection=True, seed=seed) for seed in (0, 1))
    teacher.head_trained = True  # its answers do not matter here
    schedule = sskd.Schedule(epochs=1, batch_size=BATCH)
    parts: list[set[Function]] = [set()]
    with profiled(parts):
        sskd.distill(
            student, teacher, train, method=method, schedule=schedule, runtime=sskd.Runtime(), progress=False
        )
    first, steady = (sorted(part) for part in parts[:2])
    return first, steady


@contextmanager
def profiled(parts: list[set[Function]]) -> Iterator[None]:
    """Add each function of the kit that is entered to the last part; an optimizer step begins a new part."""

    def enter(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event == "call" and is_function and LIBRARY in Path(code.co_filename).parents:
            name = getattr(code, "co_qualname", code.co_name)  # qualified from Python 3.11
            parts[-1].add(Function(Path(code.co_filename).relative_to(LIBRARY).as_posix(), name))

    handle = register_optimizer_step_post_hook(lambda *_: parts.append(set()))
    sys.setprofile(enter)
    try:
        yield
    finally:
        sys.setprofile(None)
        handle.remove()


def files(functions: list[Function]) -> list[str]:
    """Return the files of these functions, each once, sorted."""
    return sorted({function.file for function in functions})


def main(
    methods: tuple[str, ...] = ("kd", "sskd", "at"),
    names: Annotated[bool, tyro.conf.arg(name="list")] = False,
) -> None:
    """Print the counts.

    Args:
        methods: names as in distill.
        names: also print each function of the steady step, file by file.
    """
    print(f"{'method':12} {'to the first optimizer step':32} one steady step")
    for method in methods:
        counts = entered(method)
        texts = [f"{len(part)} functions in {len(files(part))} files" for part in counts]
        print(f"{method:12} {texts[0]:32} {texts[1]}")
        for file in files(counts[1]) if names else ():
            print(f"    {file:28}", *(name for where, name in counts[1] if where == file))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__.partition("\n")[0])
