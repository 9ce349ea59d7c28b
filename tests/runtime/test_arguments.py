"""Arguments of another type get a message in words, with what is wanted and how to get it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import sskd_lib as sskd
from sskd_lib.recipes import Recipe
from sskd_lib.runtime.arguments import checked
from sskd_lib.runtime.device import Runtime


@checked
def function(
    name: str | Path,
    recipes: Recipe | Sequence[Recipe | None] | None = None,
    *,
    runtime: Runtime | None = None,
    seed: int = 0,
    rate: float = 0.1,
    watch: Callable[[int], None] | None = None,
    **numbers: Mapping[str, float],
) -> str:
    """Return the name."""
    return str(name)


def test_what_fits_passes():
    assert function("a") == function(Path("a")) == "a"
    assert function("a", [Recipe(), None], runtime=Runtime(), watch=lambda n: None, at={"weight": 1}) == "a"
    assert function("a", seed=np.int64(3), rate=np.float32(0.5)) == function("a", rate=1) == "a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), r"function: name must be a text or a path, not 3\."),
        (
            ("a", "arxiv"),
            r"recipes must be a Recipe or a list of Recipe or None, not 'arxiv'. Take .*'arxiv'",
        ),
        (("a", [Recipe(), 4]), "recipes must be .*, not a list of Recipe and int. Take sskd.PRESETS"),
        (("a", {"tf": 5}), "recipes must be .*, not a dict {'tf': 5}"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            {"runtime": "cpu"},
            r"runtime must be a Runtime or None, not 'cpu'. Choose it: .*choose_runtime.'cpu'",
        ),
        ({"seed": 0.5}, "seed must be a whole number, not 0.5"),
        ({"rate": torch.zeros(3)}, r"rate must be a number, not a Tensor torch.float32 \[3\]"),
        ({"watch": 3}, "watch must be a function or None, not 3"),
        ({"at": 500}, "at must be a dict, not 500. For example at={'weight': 500}"),
    ],
)
def test_keywords_that_do_not_fit_are_named(keywords, message):
    with pytest.raises(TypeError, match=message):
        function("a", **keywords)


def test_the_function_keeps_its_name_signature_and_errors_of_its_own():
    assert function.__name__ == "function" and function.__doc__ == "Return the name."
    assert "runtime" in inspect.signature(function).parameters
    with pytest.raises(TypeError, match=r"function\(\) missing 1 required positional argument: 'name'"):
        function()


@pytest.mark.parametrize(
    "public",
    [sskd.train_teacher, sskd.train_head, sskd.distill, sskd.evaluate, sskd.predict, sskd.create_network],
)
def test_the_doors_are_checked(public):
    assert hasattr(public, "__wrapped__")
