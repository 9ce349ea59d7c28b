"""The loop every training shares: epochs, learning rate, progress, records, and survival of a kill.

An epoch's views come from (seed, epoch) alone (feed.py), so the state to keep is weights, momenta and
history. Several
students may sit in one loop: they see the same views and share their teacher's forward pass, and each ends as
if alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import write_atomically
from ..losses import FurtherTerms
from ..models.checkpoint import save_checkpoint
from ..models.network import Network, Output
from ..recipes import Schedule
from ..runtime.cuda_graph import CapturedStep
from ..runtime.device import Runtime
from .loader import Batch, Feed
from .records import Run, not_finite, out_of_memory, progress_bar, summarise
from .resume import momentum_buffers, restore, save_state, write_metrics

# (views float [V·B, C, H, W], the teacher's Output or None, the batch) → terms by name with "total", hits
Learn = Callable[[Tensor, Output | None, Batch], tuple[dict[str, Tensor], Tensor]]
# A pass of the teacher: (views an image, whether shuffled, whether its maps are those before the ReLUs)
Look = tuple[int, bool, bool]
# (epochs done, the students that have done them, in eval mode)
Watch = Callable[[int, list[Network]], None]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What all students of one training share: images, their order and views, the teacher, the machine."""

    feed: Feed
    teacher: Network | None
    schedule: Schedule
    seed: int
    runtime: Runtime
    progress: bool
    evaluate_every: int
    save_seconds: float

    def __post_init__(self) -> None:
        if self.evaluate_every < 1:
            raise ValueError(f"evaluate_every counts epochs, so it is at least 1, not {self.evaluate_every}.")


@dataclass(kw_only=True)
class Job:
    """One student's training; `plan` is what must be equal for a resumed run to be the same run."""

    network: Network
    trained: nn.Module  # what has the parameters that move
    learn: Learn
    views: int  # 1 or 4 an image
    taught: bool  # whether `learn` looks at the teacher's output
    measure: Callable[[], dict[str, float]] | None  # test figures, with "test_accuracy"
    plan: dict[str, Any]
    card: dict[str, Any]
    out: Path | None
    file_name: str
    history: list[dict[str, Any]] = field(default_factory=list)
    optimizer: torch.optim.Optimizer | None = None
    terms: list[str] = field(default_factory=list)  # names, in the order of the recorded values
    judged: int = 1  # rows of an image that hits are counted among
    asked: dict[str, bool] = field(default_factory=dict)  # of both networks, beside logits (Network.forward)
    own: FurtherTerms | None = None  # the method's terms with parameters or a memory of their own
    shuffled: bool = False  # whether the transformed views are jigsaws instead of rotations

    def __post_init__(self) -> None:
        self.plan = json.loads(json.dumps(self.plan))  # as it will be read: lists for tuples

    @property
    def look(self) -> Look:
        """Which pass of the teacher serves it."""
        return self.views, self.shuffled, self.asked.get("pre_activation", False)

    def state(self) -> dict[str, Tensor]:
        """All tensors that a resumed run needs, but the momenta: the network's, and the terms' own."""
        parts = {"network": self.network} | ({"own": self.own} if self.own is not None else {})
        return {
            f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()
        }


def fit(lesson: Lesson, jobs: list[Job], watch: Watch | None = None) -> list[Run]:
    """Train for the epochs that are still to do; the last epoch's weights are the result.

    watch: see `distill`. Raises TrainingError if a loss is not finite or memory runs out, CheckpointError if
    an `out` holds another run, OSError if it cannot be written.
    """
    lesson.runtime.prepare()
    world, epochs = lesson.feed.world, lesson.schedule.epochs
    for job in jobs:
        job.optimizer = sgd(job.trained, lesson.schedule, lesson.runtime)
        job.history = restore(job, lesson)
    saved_at = time.monotonic()
    step = None
    first = min(len(job.history) for job in jobs)
    if first == 0:
        show(watch, lesson, [job for job in jobs if not job.history], 0)
    with progress_bar(lesson, jobs, done=first) as bar:
        for epoch in range(first, epochs):
            todo = [job for job in jobs if len(job.history) == epoch]
            if step is None or step.jobs != todo:
                step = Step(lesson, todo)
            try:
                run_epoch(lesson, step, epoch, bar)
            except (MemoryError, RuntimeError) as error:
                if told := out_of_memory(error, lesson, todo):
                    raise told from error
                raise
            show(watch, lesson, todo, epoch + 1)  # before the epoch is saved: killed here, it comes again
            last = epoch + 1 == epochs
            save = last or time.monotonic() - saved_at >= lesson.save_seconds
            for job in todo if world.leads else ():
                if job.out is not None:
                    write_metrics(job.out, job.history[-1:], append=True)
                    if save:
                        save_state(job)
            saved_at = time.monotonic() if save else saved_at
    return [finish(job, lesson) for job in jobs]


def show(watch: Watch | None, lesson: Lesson, jobs: list[Job], epochs: int) -> None:
    """Let `watch` look at the networks, in the leading process; the others wait for it."""
    if watch is None:
        return
    if lesson.feed.world.leads:
        networks = [job.network.eval() for job in jobs]
        watch(epochs, networks)
        for network in networks:
            network.train()
    lesson.feed.world.tell(None)


def sgd(module: nn.Module, schedule: Schedule, runtime: Runtime) -> torch.optim.SGD:
    """SGD with momentum, in one kernel where torch has it."""
    return torch.optim.SGD(
        module.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        fused=runtime.device.type in ("cpu", "cuda"),
    )


def complete_momenta(job: Job) -> None:
    """Momentum 0 for parameters that had no gradient yet, where others had: one kernel takes all or none."""
    if momentum_buffers(job):
        for parameter in job.trained.parameters():
            state = job.optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def finish(job: Job, lesson: Lesson) -> Run:
    """Write the result of a training and hand it over."""
    summary = summarise(job)
    lesson.feed.world.share(list(job.network.buffers()))  # BatchNorm's averages, each process had its own
    job.network.eval()
    if job.out and lesson.feed.world.leads:
        save_checkpoint(job.out / job.file_name, job.network, summary["card"])
        write_atomically(job.out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    return Run(network=job.network, history=job.history, summary=summary)


class Step:
    """One step of all students: views, one teacher pass, and each student's terms, gradients and update.

    Called with a Batch, returns for each job a float [terms + 1]: its terms, and its hits. Nothing in it
    waits for the device, and shapes do not depend on values, so that it can be recorded as one CUDA graph
    (capture.py).
    """

    def __init__(self, lesson: Lesson, jobs: list[Job]) -> None:
        self.lesson, self.jobs = lesson, jobs
        self.learning_rate = None
        self.asked: dict[Look, dict[str, bool]] = {}  # of the teacher, in each of its passes
        for job in jobs:
            if job.taught:  # the most that a job of this pass asks for; the others look at less of it
                self.asked[job.look] = max(self.asked.get(job.look, {}), job.asked, key=len)
        alone = lesson.feed.world.size == 1
        self.call = CapturedStep(self.take) if lesson.runtime.capture and alone else self.take

    def set_learning_rate(self, lr: float) -> None:
        """For the next steps; a recorded step has it built in."""
        if lr != self.learning_rate and isinstance(self.call, CapturedStep):
            self.call.forget()
        self.learning_rate = lr
        for job in self.jobs:
            for group in job.optimizer.param_groups:
                group["lr"] = lr

    def begin(self, epoch: int) -> None:
        """Enter an epoch: its learning rate, and what the methods do in it (a first stage, a warm-up)."""
        schedule = self.lesson.schedule
        staged = [job for job in self.jobs if job.own is not None]
        changed = [job.own.begin(epoch, schedule.epochs) for job in staged]
        for job in staged:
            complete_momenta(job)
        if any(changed) and isinstance(self.call, CapturedStep):
            self.call.forget()
        self.set_learning_rate(schedule.lr_at(epoch))

    def take(self, batch: Batch) -> list[Tensor]:
        """The step itself."""
        size = self.lesson.feed.size
        views = {kind: batch.views(size, *kind) for kind in {job.look[:2] for job in self.jobs}}
        taught = {look: self.teach(batch, views[look[:2]], look) for look in self.asked}
        results = []
        for job in self.jobs:
            terms, hits = job.learn(views[job.look[:2]], taught.get(job.look), batch)
            job.optimizer.zero_grad()
            terms["total"].backward()
            job.optimizer.step()
            job.terms = list(terms)
            results.append(torch.stack([*(term.detach() for term in terms.values()), hits]))
        return results

    def teach(self, batch: Batch, views: Tensor, look: Look) -> Output:
        """What the teacher (or its table) says of these views."""
        taught = batch.taught(look[0])
        if taught is None:
            with torch.no_grad():
                taught = self.lesson.runtime.run(self.lesson.teacher, views, **self.asked[look])
        return taught


def run_epoch(lesson: Lesson, step: Step, epoch: int, bar: Any) -> None:
    """Train for one epoch and measure, where it is time to; append a record to each job's history."""
    started = time.perf_counter()
    lr = lesson.schedule.lr_at(epoch)
    step.begin(epoch)
    averages = train_epoch(lesson, step, epoch, bar)
    last = epoch + 1 == lesson.schedule.epochs
    for job, means in zip(step.jobs, averages, strict=True):
        record = {"epoch": epoch + 1, "lr": lr, **means}
        if job.measure and (last or (epoch + 1) % lesson.evaluate_every == 0):
            # Others may not start the next epoch on weights that are being measured, so they wait for the
            # figures.
            record |= lesson.feed.world.tell(job.measure() if lesson.feed.world.leads else None)
        if bad := [name for name, value in record.items() if not math.isfinite(value)]:
            raise not_finite(job, lesson, epoch, f"{' and '.join(bad)}, measured on the test images,")
        job.history.append(record | {"seconds": round(time.perf_counter() - started, 3)})
    bar.set_postfix({k: f"{v:.1f}%" for k, v in step.jobs[0].history[-1].items() if k.endswith("accuracy")})


def train_epoch(lesson: Lesson, step: Step, epoch: int, bar: Any) -> list[dict[str, float]]:
    """One pass over the training images: each job's mean terms and accuracy. Reads the device at the end."""
    taken: list[list[Tensor]] = []
    images = []
    for batch in lesson.feed.epoch(epoch):
        taken.append(step.call(batch))
        images.append(len(batch.labels))
        bar.update()
    columns = [lesson.feed.world.mean(torch.stack(column)).cpu() for column in zip(*taken, strict=True)]
    return [
        averages(job, lesson, epoch, column, images) for job, column in zip(step.jobs, columns, strict=True)
    ]


def averages(job: Job, lesson: Lesson, epoch: int, column: Tensor, images: list[int]) -> dict[str, float]:
    """Mean of every term over the images, and accuracy, of one epoch. column: float [steps, terms + 1]."""
    *values, hits = column.double().T
    stop_if_not_finite(job, lesson, epoch, torch.stack(values))
    share = torch.tensor(images, dtype=torch.float64) / sum(images)
    means = {name: (share @ value).item() for name, value in zip(job.terms, values, strict=True)}
    return means | {"train_accuracy": 100 * hits.sum().item() / (job.judged * sum(images))}


def stop_if_not_finite(job: Job, lesson: Lesson, epoch: int, values: Tensor) -> None:
    """Raise TrainingError naming the terms that were the first to be NaN or infinite; or the weights.

    values: float [terms, steps].
    """
    bad = ~values.isfinite()
    if bad.any():
        step = int(bad.any(0).int().argmax())
        terms = [name for name, is_bad in zip(job.terms, bad[:, step], strict=True) if is_bad]
        terms = [name for name in terms if name != "total"] or terms
        raise not_finite(job, lesson, epoch, f"the loss term {' and '.join(terms)}", f", step {step + 1}")
    finite = torch.stack([tensor.isfinite().all() for tensor in job.state().values()])
    if not finite.all():
        raise not_finite(job, lesson, epoch, "a weight")
