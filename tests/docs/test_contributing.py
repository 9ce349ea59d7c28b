"""The example of CONTRIBUTING.md, "Add a method in three places", runs as it is printed."""

from __future__ import annotations

import re
import sys
import types

import pytest
import torch

import sskd_lib as sskd
from helpers import oracles
from helpers.documents import blocks
from helpers.training import networks, pictures, train
from sskd_lib.data.batch import Batch
from sskd_lib.losses import registry

FILE, LIST, ORACLE = blocks("CONTRIBUTING.md", "python")


@pytest.fixture
def mine(monkeypatch) -> types.ModuleType:
    """The three places filled in, until the end of a test."""
    name = "sskd_lib.losses.mine"
    module = types.ModuleType(name)
    module.__package__ = "sskd_lib.losses"
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(FILE, "mine.py", "exec"), module.__dict__)
    terms = dict(registry.TERMS)
    exec(LIST, {"TERMS": terms, "Mine": module.Mine})
    monkeypatch.setattr(registry, "TERMS", terms)
    rows = dict(oracles.ORACLES)
    exec(ORACLE, {**vars(oracles), "ORACLES": rows})
    monkeypatch.setattr(oracles, "ORACLES", rows)
    return module


def test_it_is_about_ten_lines():
    """Of code: without imports, docstrings and empty lines."""
    code = re.sub(r'""".*?"""', "", FILE, flags=re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip() and not re.match(r"from |import ", line)]
    assert len(lines) <= 12


def test_its_loss_equals_its_oracle(mine):
    data = pictures(12)
    student, teacher = (network.double().eval() for network in networks(data))
    teacher = sskd.create_network("resnet14", data, seed=3).double().eval()
    views = sskd.one_view(data.images, augment=False).double()
    with torch.no_grad():
        outputs = [network(views) for network in (student, teacher)]
    term, batch = mine.Mine(), Batch(data.labels)
    term.setup(*outputs, data.labels)
    expected = oracles.ORACLES["mine"](term, *(output.each(oracles.array) for output in outputs), batch)
    assert expected > 0
    assert term(*outputs, batch).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["mine", "kd+mine", "sskd+mine"])
def test_it_trains_by_its_name(mine, name):
    run = train(name, pictures())
    assert run.history[-1]["mine"] > 0
    assert sskd.create_method(name, mine={"weight": 3.0}).terms[-1].weight == 3.0
