"""A network: normalisation, head and output."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from helpers.pixels import Pixels
from sskd_lib.models.network import Network, Output


def test_network_normalises_each_channel_and_applies_the_head():
    network = Network(Pixels(12, 4, channels=3), mean=[0.1, 0.5, 0.9], std=[0.2, 0.25, 0.5], projection=True)
    pixels = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    output = network(pixels)
    expected = np.empty((5, 3, 2, 2), np.float32)
    for c, (mean, std) in enumerate([(0.1, 0.2), (0.5, 0.25), (0.9, 0.5)]):
        expected[:, c] = (pixels[:, c].numpy() - mean) / std
    np.testing.assert_allclose(output.features.detach(), expected.reshape(5, 12), rtol=1e-5, atol=1e-6)
    first, _, second = network.head
    hidden = np.maximum(
        expected.reshape(5, 12) @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0
    )
    projection = hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy()
    np.testing.assert_allclose(output.projection.detach(), projection, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output.logits.detach(), network.backbone.fc(output.features).detach())


def test_head_has_two_layers_of_the_features_width_and_no_batchnorm():
    network = Network(Pixels(12, 4), mean=[0.0], std=[1.0], projection=True)
    assert [type(layer) for layer in network.head] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [layer.weight.shape for layer in (network.head[0], network.head[2])] == [(12, 12), (12, 12)]


def test_network_without_a_head_has_no_projection_and_output_has_defaults():
    network = Network(Pixels(4, 3), mean=[0.0], std=[1.0])
    output = network(torch.rand(2, 1, 2, 2))
    assert output.projection is None
    assert output.logits.shape == (2, 3)
    assert output.features.shape == (2, 4)
    assert Output(output.logits) == (output.logits, None, None, None, None)
    assert Output._fields == ("logits", "projection", "features", "maps", "last")


def test_mean_and_deviation_travel_with_the_weights():
    one = Network(Pixels(4, 3), mean=[0.3], std=[0.2])
    other = Network(Pixels(4, 3), mean=[0.0], std=[1.0])
    other.load_state_dict(one.state_dict())
    pixels = torch.rand(2, 1, 2, 2)
    assert torch.equal(one(pixels).logits, other(pixels).logits)
    assert not any(name in dict(one.named_parameters()) for name in ("mean", "std"))  # not trained
