"""Demands beside the values: where a gradient must flow, and of what kind the numbers are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .exercise import Answer, Case, Demand
from .guard import copied


def gradient_arrives(answer: Answer, case: Case, name: str) -> bool:
    """Return whether a gradient arrives at one argument, or at a tensor inside of it.

    name: of the argument. Raises what the answer raises, such as numpy's error for a tensor with a gradient.
    """
    arguments = copied(case)
    tensors = list(_tensors(arguments[name]))
    for tensor in tensors:
        tensor.requires_grad_()
    value = answer(*arguments.values())
    if not isinstance(value, Tensor) or not value.requires_grad:
        return False
    value.sum().backward()
    return any(tensor.grad is not None and bool(tensor.grad.any()) for tensor in tensors)


def teacher_detached(name: str) -> Demand:
    """Return the demand that no gradient arrives at the teacher's argument of this name."""

    def fails(answer: Answer, case: Case) -> bool:
        try:
            return gradient_arrives(answer, case, name)
        except Exception:  # a tensor with a gradient does not get through: so nothing arrives
            return False

    return Demand(
        name="teacher not detached",
        message="The value is right. But a gradient also arrives at the teacher's numbers, and the teacher "
        "must not learn. Cut it off: tensors have a method for this.",
        fails=fails,
    )


def gradient_needed(name: str, of_whom: str) -> Demand:
    """Return the demand that a gradient arrives at the argument of this name. of_whom: in words."""

    def fails(answer: Answer, case: Case) -> bool:
        try:
            return not gradient_arrives(answer, case, name)
        except Exception:
            return True

    return Demand(
        name="no gradient",
        message=f"The value is right. But no gradient arrives at {of_whom}, so nothing can be learned from "
        "this loss. Something cuts it off: detach, item, float, tolist, numpy or no_grad.",
        fails=fails,
    )


def kind_needed(kinds: str, message: str) -> Demand:
    """Return the demand for a kind of number. kinds: letters of numpy's kinds, "iu" integers, "b" bool."""

    def fails(answer: Answer, case: Case) -> bool:
        return _array(answer(*copied(case).values())).dtype.kind not in kinds

    return Demand(name="another kind of number", message=message, fails=fails)


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
