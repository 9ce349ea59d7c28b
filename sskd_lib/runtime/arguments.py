"""The types of a public function's arguments: checked against its annotations when it is called."""

from __future__ import annotations

import functools
import inspect
import reprlib
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

# how to get an argument of a class: from a text (a path or a name), or from the example
REMEDIES = {
    "Network": ("Load it: sskd.load_checkpoint({}).", "path"),
    "ImageSet": (
        "Load images, sskd.load_images({}), or make sskd.ImageSet(images=…, labels=…, classes=…, name=…).",
        "'folder:PATH'",
    ),
    "Schedule": ("Make one: sskd.Schedule(epochs=20), or sskd.Schedule(**dict).", ""),
    "Recipe": ("Take sskd.PRESETS[{}], or make one: sskd.Recipe(tf=5.0).", "'official-code'"),
    "Runtime": ("Choose it: sskd.choose_runtime({}).", "'cpu'"),
    "Method": ("Name one of sskd.METHODS, or make it: sskd.create_method({}).", "'sskd'"),
    "dict": ("For example at={{'weight': 500}}.", ""),
}
PLAIN = {
    str: "a text",
    Path: "a path",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    type(None): "None",
}


def checked(function: Function) -> Function:
    """Let a function raise TypeError, in words and with a remedy, for an argument of another type.

    The types are those of its annotations. Whole numbers and numbers of NumPy pass as int and float.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:  # Python's own message, of the function itself
            return function(*args, **kwargs)
        hints = _hints(function)
        for name, hint, value in _pairs(given, hints):
            if not _fits(value, hint):
                raise TypeError(explain_type(function.__name__, name, value, hint))
        return function(*args, **kwargs)

    return cast(Function, wrapper)


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(function)


def _pairs(given: inspect.BoundArguments, hints: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Return name, type and value of each argument that was given."""
    for name, value in given.arguments.items():
        if given.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from ((each, hints.get(name, Any), part) for each, part in value.items())
        else:
            yield name, hints.get(name, Any), value


def _fits(value: Any, hint: Any) -> bool:
    import typeguard

    if isinstance(value, Real) and not isinstance(value, bool):
        value = int(value) if isinstance(value, Integral) else float(value)
    every = typeguard.CollectionCheckStrategy.ALL_ITEMS
    try:
        typeguard.check_type(value, hint, collection_check_strategy=every)
    except typeguard.TypeCheckError:
        return False
    return True


def explain_type(function: str, name: str, value: Any, hint: Any) -> str:
    """Return what an argument is, what it must be, and how to get it."""
    names = list(dict.fromkeys(_names(hint)))
    text = f"{function}: {name} must be {' or '.join(names)}, not {_shown(value)}."
    for wanted, (remedy, example) in REMEDIES.items():
        if any(wanted in expected.split() for expected in names):
            source = repr(str(value)) if isinstance(value, (str, Path)) else example
            return f"{text} {remedy.format(source)}"
    return text


def _names(hint: Any) -> list[str]:
    """Return the types of an annotation in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [name for argument in arguments for name in _names(argument)]
    if hint in PLAIN:
        return [PLAIN[hint]]
    if origin is not None and issubclass(origin, typing.Mapping):
        return ["a dict"]
    if origin is not None and issubclass(origin, typing.Sequence):
        parts = [name.split()[-1] for name in _names(arguments[0]) if name != "None"]
        return [f"a list of {' or '.join(parts)}"]
    name = "function" if origin is not None else getattr(hint, "__name__", str(hint))
    return [f"an {name}" if name[0] in "AEIO" else f"a {name}"]


def _shown(value: Any) -> str:
    """Return a value in short, with its type."""
    kind = type(value).__name__
    if value is None or isinstance(value, (str, Path, Real)):
        return textwrap.shorten(repr(str(value) if isinstance(value, Path) else value), 120)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"a {kind} {value.dtype} {list(value.shape)}"
    if isinstance(value, (list, tuple)) and value:
        return f"a {kind} of {' and '.join(dict.fromkeys(type(each).__name__ for each in value))}"
    return f"a {kind} {reprlib.repr(value)}" if isinstance(value, dict) else f"a {kind}"
