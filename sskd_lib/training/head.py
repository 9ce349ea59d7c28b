"""Train the head of a frozen teacher by a pretext task: the same loop and step as for a student."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.images import ImageSet
from ..evaluation import pretext_accuracy
from ..losses.pretext import PretextTask, create_task
from ..models.heads import make_head
from ..models.network import MapKind, Network, Output
from ..recipes import HEAD, Schedule
from ..runtime.arguments import checked
from ..runtime.device import Runtime, choose_runtime
from ..runtime.distributed import current
from .checks import check_batches, check_fits
from .loader import ViewLoader
from .loop import fit
from .resume import hash_images, make_plan
from .state import Run, TrainOptions, TrainState, make_card, sgd


class FrozenBackbone(nn.Module):
    """A network as a model whose head alone is trained; its backbone is in eval mode and gets no gradient."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.head = network.head
        self.frozen = [network]  # in a list: its parameters are not those of this module

    def forward(self, pixels: Tensor, maps: MapKind | None = None) -> Output:
        """Return the head's answers on float pixels [N, C, H, W] as Output.projection.

        Small heads compute in float32; one that works on maps has convolutions, and the networks' format.
        """
        with torch.no_grad():
            output = self.frozen[0](pixels, maps=maps, head=False)
        if maps is not None:
            return output._replace(projection=self.head(output.maps).float())
        with torch.autocast(pixels.device.type, enabled=False):
            return output._replace(projection=self.head(output.features).float())


def give_head(teacher: Network, task: PretextTask, train: ImageSet, seed: int) -> None:
    """Put a fresh head for a pretext task on a network, unless it has one for this task and of this shape.

    Raises ValueError for a network without a projection head, where the contrastive task needs one.
    """
    side = train.window or train.images.shape[-1]
    stages = stage_shapes(teacher, side) if task.needs.maps else []
    if task.needs.maps and not stages:
        raise ValueError(
            f"the head for the task {task.name!r} needs the maps of a stage, and {teacher.spec['model']} has "
            "none beside its stem. Choose another task, or one of the kit's own backbones."
        )
    spec = task.head(len(train), train.num_classes, stages)
    if spec is True:
        if teacher.head is None or teacher.task != task.name:
            raise ValueError(
                "this teacher has no projection head; make it with projection=True, or load one that has."
            )
        return
    if teacher.spec["projection"] == spec:
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        head = make_head(teacher.backbone.feature_dim, spec)
    teacher.head, teacher.task, teacher.head_trained = head.to(teacher.mean.device), task.name, False
    teacher.spec = teacher.spec | {"projection": spec}


@torch.no_grad()
def stage_shapes(network: Network, side: int) -> list[list[int]]:
    """Return [c, h, w] of each stage of a network, without the stem, for square images of this side."""
    blank = torch.zeros(1, network.spec["in_channels"], side, side, device=network.mean.device)
    return [list(stage.shape[1:]) for stage in network.eval()(blank, maps="post_relu").maps[1:]]


@checked
def train_head(  # noqa: PLR0913 - a public signature, all of it by keyword
    teacher: Network,
    train: ImageSet,
    test: ImageSet | None = None,
    *,
    schedule: Schedule = HEAD,
    seed: int = 0,
    out: str | Path | None = None,
    runtime: Runtime | None = None,
    progress: bool = True,
    evaluate_every: int = 1,
    save_seconds: float = 10.0,
    task: str = "contrastive",
) -> Run:
    """Teach the projection head of a frozen teacher the contrastive task (`losses.contrastive_loss`).

    The backbone stays in eval mode and gets no gradient. Accuracies in the history are those of the
    contrastive task, where chance is 100 / batch_size percent. The loss says less, since its floor is high.
    task: a name in losses.TASKS; for another than the contrastive one the teacher gets a fresh head, drawn
    from `seed`, unless it has one for this task and of this shape already.
    out, and errors: as in `train_teacher`. Source: Xu et al. 2020, section 3.2 (stage 1).
    """
    for data in (train, test):
        check_fits(teacher, data, "teacher")
    runtime, processes, pretext = runtime or choose_runtime(), current(), create_task(task)
    for data in (train, test):
        check_batches(pretext, data, schedule.batch_size)
    options = TrainOptions(
        schedule=schedule,
        seed=seed,
        runtime=runtime,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
    )
    give_head(runtime.place(teacher), pretext, train, seed)
    images = hash_images(train, test)
    plan = make_plan("head", teacher, None, images, options, processes.world_size)
    model = FrozenBackbone(runtime.place(teacher).eval())
    state = TrainState(
        network=teacher,
        model=processes.ddp(model),
        method=pretext,
        loss=pretext,
        optimizer=sgd([model], schedule, runtime),
        count_correct=pretext.count_correct,
        rows_per_image=pretext.rows_per_image,
        measure=None,
        plan=json.loads(json.dumps(plan)),  # as it will be read: lists for tuples
        card=make_card("head", train, test, runtime, teacher=teacher.spec["model"]),
        out=Path(out).expanduser() if out else None,
        file_name="teacher.safetensors",
    )
    if test is not None and not pretext.only_training_images:
        size = min(schedule.batch_size, len(test))
        state.measure = lambda: {"test_accuracy": pretext_accuracy(teacher, test, size, runtime)}
    loader = ViewLoader(
        train=train,
        batch_size=schedule.batch_size,
        seed=seed,
        device=runtime.device,
        processes=processes,
        views=pretext.needs.views,
        jigsaw=pretext.needs.jigsaw,
    )
    return fit([state], loader, None, options)[0]
