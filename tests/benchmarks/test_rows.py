"""What each timed row does is what its name says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import rows
import sskd_lib as sskd
from sskd_lib import ImageSet, Runtime


def trained_weights(data: ImageSet, teacher: sskd.Network, runtime: Runtime) -> dict[str, Tensor]:
    """A student after one epoch of `distill` at the benchmarks' rate."""
    student = sskd.create_network("resnet8", data, projection=True)
    schedule = sskd.Schedule(epochs=1, batch_size=8, lr=rows.LR, milestones=())
    sskd.distill(student, teacher, data, schedule=schedule, runtime=runtime, progress=False)
    return student.state_dict()


def test_the_kits_timed_step_and_its_phases_are_the_step_of_distill(setting: rows.Setting) -> None:
    data, teacher = setting.data, setting.teacher()
    expected = trained_weights(data, teacher, setting.exact)
    timed, cut, split = (
        rows.real_step(setting.students(), teacher, data, 8, setting.exact) for _ in range(3)
    )
    for _ in range(2):  # an epoch
        timed()
    phases = []
    for kit, halves in ((cut, False), (split, True)):
        phased = rows.phased_step(kit, split=halves)
        phases.append([list(phased()) for _ in range(2)][1])
    assert [name for name in phases[1] if name != "losses backward"] == phases[0]
    for name, value in expected.items():
        exact, phased, halved = (kit.training.states[0].network for kit in (timed, cut, split))
        assert torch.equal(exact.state_dict()[name], value), name
        assert torch.equal(phased.state_dict()[name], value), name
        torch.testing.assert_close(halved.state_dict()[name], value)


PASSES = {  # of 32 views in one step of each row: by teachers in eval mode, by students in train mode
    "published": (1, 1),
    "published, ready": (1, 1),
    "published, ready, memory kept": (1, 1),
    "kit, exact": (1, 1),
    "kit, float32": (1, 1),
    "kit": (1, 1),
    "kit, table": (0, 1),
    "networks, exact": (1, 1),
    "networks, float32": (1, 1),
    "networks, kit": (1, 1),
    "student alone": (0, 1),
    "three students": (1, 3),
    "resnet8, one student": (1, 1),
    "resnet8, three students": (1, 3),
}


def test_every_row_passes_the_views_through_its_networks_and_nothing_more(
    setting: rows.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "SMALL", ("resnet14", "resnet8"))
    backbone = type(setting.teacher().backbone)
    features, seen = backbone.features, []

    def counted(self: torch.nn.Module, x: Tensor) -> Tensor:
        seen.append((self.training, torch.is_grad_enabled(), len(x)))
        return features(self, x)

    monkeypatch.setattr(backbone, "features", counted)
    passes = {}
    for name, build in rows.builders(setting).items():
        row = build()
        seen.clear()
        row.take()
        assert set(seen) <= {(False, False, 32), (True, True, 32)}, name
        passes[name] = (seen.count((False, False, 32)), seen.count((True, True, 32)))
    assert passes == PASSES


def test_formats_of_the_rows(setting: rows.Setting) -> None:
    kit = Runtime(dtype=torch.bfloat16, channels_last=True, threads=1, keep_memory=False)
    formats = {name: build.args[1] for name, build in rows.builders(replace(setting, kit=kit)).items()}
    assert formats["published"] == formats["kit, exact"] == formats["networks, exact"] == Runtime()
    assert formats["published, ready, memory kept"] == Runtime(keep_memory=True)
    assert formats["kit, float32"] == formats["networks, float32"]
    assert formats["kit, float32"] == Runtime(channels_last=True, threads=1, keep_memory=True)
    for name in ("kit", "kit, table", "networks, kit", "student alone", "three students"):
        assert formats[name] == kit
