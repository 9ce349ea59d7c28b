"""ReviewKD as it is trained: which maps of the two networks it compares, on networks written out as loops."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from helpers.oracles import ORACLES, array
from helpers.plain_backbones import Plain
from sskd_lib.data.images import ImageSet
from sskd_lib.losses import create_method
from sskd_lib.models.network import Network
from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill


def sums_of_resnet8(net: Plain, x: Tensor) -> list[Tensor]:
    """What enters the last ReLU of each stage."""
    sums, x = [], net.act(net.conv(x, "conv1"), "bn1")
    for block, stride in (("layer1.0", 1), ("layer2.0", 2), ("layer3.0", 2)):
        y = net.act(net.conv(x, f"{block}.conv1", stride), f"{block}.bn1")
        y = net.norm(net.conv(y, f"{block}.conv2"), f"{block}.bn2")
        if stride == 2:
            x = net.norm(net.conv(x, f"{block}.downsample.0", stride), f"{block}.downsample.1")
        sums.append(x + y)
        x = sums[-1].clamp(min=0)
    return sums


def norms_of_wrn_16_1(net: Plain, x: Tensor) -> list[Tensor]:
    """The residual sum of each stage after the BatchNorm that follows it."""
    norms, x = [], net.conv(x, "conv1")
    for stage in (1, 2, 3):
        for i in (0, 1):
            block, stride = f"block{stage}.layer.{i}", 2 if stage > 1 and i == 0 else 1
            a = net.act(x, f"{block}.bn1")
            y = net.act(net.conv(a, f"{block}.conv1", stride), f"{block}.bn2")
            x = net.conv(a, f"{block}.convShortcut", 2) if stride == 2 else x
            x = x + net.conv(y, f"{block}.conv2")
        norms.append(net.norm(x, f"block{stage + 1}.layer.0.bn1" if stage < 3 else "bn1"))
    return norms


def uneven(network: Network) -> Network:
    """The network with BatchNorms that change what passes them."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.running_var):
                tensor.data.uniform_(0.5, 2, generator=generator)
            for tensor in (norm.bias, norm.running_mean):
                tensor.data.normal_(generator=generator)
    return network


def outputs_of_blocks(network: Network, names: list[str]) -> list[Tensor]:
    """A list that the outputs of some blocks will be appended to."""
    seen: list[Tensor] = []
    for name in names:
        block = network.backbone.get_submodule(name)
        block.register_forward_hook(lambda _, inputs, output: seen.append(output.detach().clone()))
    return seen


TEACHERS = {"resnet8": sums_of_resnet8, "wrn_16_1": norms_of_wrn_16_1}
LAST_BLOCKS = {
    "resnet14": ["layer1.1", "layer2.1", "layer3.1"],  # called without their last ReLU
    "wrn_16_2": ["block1.layer.1", "block2.layer.1", "block3.layer.1"],
}


@pytest.mark.parametrize("teacher_name", TEACHERS)
@pytest.mark.parametrize("student_name", LAST_BLOCKS)
def test_a_step_compares_the_students_maps_with_the_teachers_before_the_relu(student_name, teacher_name):
    pixels = torch.randint(256, (10, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    images = ImageSet(
        images=pixels.to(torch.uint8), labels=torch.arange(10) % 5, classes=tuple("abcde"), name="noise"
    )
    student = create_network(student_name, images, seed=1)
    teacher = uneven(create_network(teacher_name, images, seed=2))
    method, seen, views = create_method("reviewkd"), [], []
    method.terms[0].register_forward_pre_hook(lambda term, args: seen.append((copy.deepcopy(term), *args)))
    teacher.register_forward_pre_hook(lambda _, args: views.append(args[0]))
    blocks = outputs_of_blocks(student, LAST_BLOCKS[student_name])
    options = {"schedule": Schedule(epochs=1, batch_size=10, lr=0.01), "runtime": Runtime()}
    record = distill(student, teacher, images, method=method, progress=False, **options).history[0]
    ((term, s, t, batch),) = seen  # one step

    weights = {key: tensor.double() for key, tensor in teacher.backbone.state_dict().items()}
    before = TEACHERS[teacher_name](Plain(weights), ((views[-1] - teacher.mean) / teacher.std).double())
    after = [block.clamp(min=0) if student_name == "resnet14" else block for block in blocks[-3:]]
    s = s._replace(maps=(s.maps[0], *after))
    for maps, equal in ((before, True), ([m.clamp(min=0) for m in before], False)):
        other = t._replace(maps=(t.maps[0], *maps))
        expected = ORACLES["reviewkd"](term, s.each(array), other.each(array), batch)
        assert (record["reviewkd"] == pytest.approx(expected, rel=1e-4)) == equal
    assert record["total"] == pytest.approx(record["ce"] + 5 * record["reviewkd"], rel=1e-5)
