"""Small trainings end with the same weights as before the library was restructured.

The table was made by version 0.1.0 in plain float32. Only the row of reviewkd is newer: since 25 November
2026 the term compares the teacher's maps before the ReLU. For each method the table has the norm of all
weights after four steps, and their product with a fixed vector, cos(0), cos(1), … On the machine that made
it, the weights were equal bit for bit. Other processors round differently, hence the tolerances. Kernels
without AVX changed the norms by up to 1e-6 and the products by up to 9e-4; two methods differ by at least
1e-4 and 0.01.
"""

from __future__ import annotations

import copy

import pytest
import torch

from sskd_lib import Network, Runtime, Schedule, create_network, distill, load_images, train_head

EXPECTED = {  # ‖w‖, ⟨w, cos⟩
    "kd": (28.0727911, -6.1185379),
    "sskd": (28.8306930, -11.6523569),
    "at": (28.2462307, -5.2881150),
    "dkd": (28.0725887, -6.1534892),
    "vid": (28.0726953, -6.2057146),
    "crd": (28.0753625, -5.9105678),
    "reviewkd": (28.0782386, -6.3630252),
    "hsakd": (28.0718164, -6.1659506),
    "sskd-jigsaw": (28.0721431, -6.0925319),
}  # fmt: skip
TASKS = {"hsakd": "joint", "sskd-jigsaw": "jigsaw"}  # of the teacher's head; else contrastive
OPTIONS = {
    "schedule": Schedule(epochs=2, batch_size=15, lr=0.05),
    "runtime": Runtime(),
    "progress": False,
}


@pytest.fixture(scope="module")
def images():
    return load_images("fashion-mnist-lab").take(30)


@pytest.fixture(scope="module")
def teacher(images):
    return create_network("resnet14", images, projection=True, seed=1)


def summarise(network: Network) -> list[float]:
    """Norm of all weights, and their product with a fixed vector."""
    weights = torch.cat([parameter.detach().double().flatten() for parameter in network.parameters()])
    fixed = torch.cos(torch.arange(len(weights), dtype=torch.float64))
    return [weights.norm().item(), (weights @ fixed).item()]


@pytest.mark.parametrize("method", EXPECTED)
def test_a_training_ends_with_the_weights_it_always_had(method, images, teacher):
    teacher = copy.deepcopy(teacher)
    train_head(teacher, images, task=TASKS.get(method, "contrastive"), **OPTIONS)
    student = create_network("resnet8", images, projection=method == "sskd", seed=2)
    run = distill(student, teacher, images, method=method, seed=3, **OPTIONS)
    norm, product = summarise(run.network)
    assert norm == pytest.approx(EXPECTED[method][0], abs=2e-5)
    assert product == pytest.approx(EXPECTED[method][1], abs=5e-3)
