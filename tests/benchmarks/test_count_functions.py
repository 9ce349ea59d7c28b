"""How far a reader follows one training step: the number of functions and files stays small."""

from __future__ import annotations

import pytest

import count_functions


@pytest.mark.parametrize(("method", "functions", "files"), [("kd", 12, 6), ("sskd", 15, 7)])
def test_a_steady_step_enters_few_functions_in_few_files(method: str, functions: int, files: int) -> None:
    _, steady = count_functions.entered(method)
    assert len(steady) <= functions, steady
    assert len(count_functions.files(steady)) <= files, steady


def test_what_is_counted() -> None:
    first, steady = count_functions.entered("kd")
    assert ("losses/kd.py", "kd_loss") in {(file, name.rpartition(".")[2]) for file, name in steady}
    assert ("training/train.py", "distill") in first
    assert ("training/train.py", "distill") not in steady
    assert not [function for function in first if "<lambda>" in function.name.rpartition(".")[2]]
