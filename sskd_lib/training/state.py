"""One training's state: network, method, optimizer and history; its card, its summary, and why it stopped."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..data.images import ImageSet
from ..losses.method import Method
from ..models.network import Network, Output
from ..recipes import Schedule
from ..runtime.device import Runtime

TRAINED_FROM = "trained_from"  # attribute of a trained module: hash of the weights its training began with


class TrainingError(RuntimeError):
    """A training cannot go on; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training: the network after the LAST epoch, one record per epoch, and the summary."""

    network: Network
    history: list[dict[str, Any]]
    summary: dict[str, Any]


class Diverged(TrainingError):
    """A network's numbers have become NaN or infinite.

    out: its output folder, or None; runs: those of the students that were trained with it, to the end.
    """

    def __init__(self, message: str, out: Path | None, runs: Sequence[Run] = ()) -> None:
        super().__init__(message)
        self.out, self.runs = out, list(runs)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options that every training takes, and that students of one training share.

    evaluate_every: epochs between tests; save_seconds: least time between two saves of the resume state.
    """

    schedule: Schedule
    seed: int
    runtime: Runtime
    progress: bool = True
    evaluate_every: int = 1
    save_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.evaluate_every < 1:
            raise ValueError(f"evaluate_every counts epochs, so it is at least 1, not {self.evaluate_every}.")
        if abs(self.seed) >= 2**40:
            raise ValueError(f"seed is a whole number with at most 12 digits, not {self.seed}.")
        if not self.save_seconds >= 0:
            raise ValueError(f"save_seconds is a number of seconds, 0 or more, not {self.save_seconds}.")


@dataclass(kw_only=True)
class TrainState:
    """What one training carries from step to step, and what a killed one needs to go on.

    network: the result; model: the module that a step calls (the network, or its wrapper); method, loss: the
    same for the terms. count_correct, rows_per_image: hits of a batch, and the rows they are counted among.
    measure: test figures with "test_accuracy", or None. plan: what must be equal for a resumed run to be the
    same run; card: facts for the reader of the weights; out: output folder or None. label: names the student
    among several. saved: epochs in the saved state; error: why the training ended early.
    """

    network: Network
    model: nn.Module
    method: Method
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    count_correct: Callable[[Output, Batch], Tensor]
    measure: Callable[[], dict[str, float]] | None
    plan: dict[str, Any]
    card: dict[str, Any]
    out: Path | None
    file_name: str
    label: str = ""
    rows_per_image: int = 1
    saved: int = 0
    error: Diverged | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    term_names: list[str] = field(default_factory=list)  # in the order of a step's values

    def tensors(self) -> list[Tensor]:
        """Return all tensors that the training changes or keeps, without the optimizer's."""
        return [*self.network.state_dict().values(), *self.method.state_dict().values()]

    def mark_trained(self) -> None:
        """Note on what is trained, the network or its head alone, which weights its training began with."""
        vars(trained_part(self.plan["kind"], self.network))[TRAINED_FROM] = self.plan["initial_weights"]


def trained_part(kind: str, network: Network) -> nn.Module:
    """Return what a training of this kind trains: the network, or its head alone."""
    return network.head if kind == "head" else network


def out_of_memory(error: Exception) -> str | None:
    """Return "the GPU" or "this machine" if an error says that its memory ran out, else None."""
    if isinstance(error, torch.OutOfMemoryError):
        return "the GPU"
    return "this machine" if isinstance(error, MemoryError) or "can't allocate memory" in str(error) else None


@contextmanager
def memory_for(what: str, remedy: str) -> Iterator[None]:
    """Turn the end of memory in a block into a TrainingError that says what needed it and what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if place := out_of_memory(error):
            raise TrainingError(f"{place} ran out of memory with {what}. {remedy}") from error
        raise


def sgd(modules: list[nn.Module], schedule: Schedule, runtime: Runtime) -> torch.optim.SGD:
    """Make SGD with momentum over all parameters of some modules, in one kernel where torch has it."""
    return torch.optim.SGD(
        [parameter for module in modules for parameter in module.parameters()],
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        fused=runtime.device.type in ("cpu", "cuda"),
    )


def complete_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Set momentum 0 for parameters that had no gradient yet, where others had: a fused kernel needs all."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if any("momentum_buffer" in optimizer.state[parameter] for parameter in parameters):
        for parameter in parameters:
            if optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def make_card(
    kind: str,
    train: ImageSet,
    test: ImageSet | None,
    runtime: Runtime,
    *,
    teacher: str | None,
    method: str | None = None,
) -> dict[str, Any]:
    """Collect what a reader of the weights wants to know, beyond the plan. teacher: name of its backbone."""
    noise = {"label_noise": list(train.noise)} if train.noise else {}
    card: dict[str, Any] = {
        "kind": kind,
        "train": {"name": train.name, "images": len(train)} | noise,
        "test": {"name": test.name, "images": len(test)} if test is not None else None,
        "teacher": teacher,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "sskd_lib": next((d.version for d in distributions(name="sskd_lib")), "not installed"),
        },
        "runtime": runtime.describe(),
        "date": datetime.date.today().isoformat(),
    }
    return card | ({"method": method} if method else {})


def summarise(state: TrainState) -> dict[str, Any]:
    """Summarise a finished training: the last epoch is the result, the best one only recorded."""
    history = state.history
    measured = [record for record in history if "test_accuracy" in record]
    best = max(measured, key=lambda record: record["test_accuracy"], default=None)
    card = state.card | {
        "plan": state.plan,
        "last": history[-1],
        "best": best,
        "seconds": round(sum(record["seconds"] for record in history), 1),
    }
    return {"last": history[-1], "best": best, "epochs": len(history), "card": card}
