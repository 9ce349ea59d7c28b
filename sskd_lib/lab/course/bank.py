"""Read the questions of the course from data/course/*.yaml.

A question has options, each with the reason why it is right or wrong, or it asks for a number. The right
answer of a prediction is computed in the notebook; that of every other question is written in its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...data.load import DATA_FOLDER
from ...files import did_you_mean

FOLDER = DATA_FOLDER / "course"
KINDS = ("predict", "recall", "exit", "vote", "inventory")
LETTERS = "abcdefgh"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One possible answer: its text, why it is right or wrong, and the number it stands for, if any."""

    text: str
    because: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The numbers that may be guessed: from `low` to `high` in steps; as near as `close` counts as right."""

    low: float
    high: float
    step: float
    close: float
    unit: str = ""
    below: str = ""  # said of a guess that is too low
    above: str = ""

    def text(self, value: float) -> str:
        """Return a number of this scale with its unit, rounded to the step."""
        digits = next((d for d in range(4) if abs(round(self.step, d) - self.step) < 1e-9), 4)
        return f"{value:.{digits}f}{' ' if self.unit else ''}{self.unit}"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question: of `kind` (see KINDS), with options or a scale; `answer` is None for a prediction."""

    key: str
    kind: str
    text: str
    options: tuple[Option, ...] = ()
    scale: Scale | None = None
    answer: int | None = None
    why: str = ""  # said to everyone, after the answer
    source: str = ""  # of a recall question: the notebook it comes from; of an inventory one: its concept

    def option_of(self, truth: Any) -> int:
        """Return which option a truth means: its text, its letter, its place, or the number nearest to it.

        Raises ValueError for anything else.
        """
        texts = [option.text for option in self.options]
        if isinstance(truth, str):
            if truth in texts:
                return texts.index(truth)
            if len(truth) == 1 and truth in LETTERS[: len(texts)]:
                return LETTERS.index(truth)
        elif all(option.value is not None for option in self.options):
            return min(range(len(texts)), key=lambda i: abs(float(truth) - float(self.options[i].value or 0)))
        elif not isinstance(truth, float) and int(truth) in range(len(texts)):
            return int(truth)
        shown = ", ".join(f"({LETTERS[i]}) {text}" for i, text in enumerate(texts))
        raise ValueError(f"{truth!r} is no answer to {self.key!r}. Its options are: {shown}.")


def make_question(key: str, kind: str, entry: Mapping[str, Any]) -> Question:
    """Make a question from one entry of a file. Raises ValueError that names what is missing or unknown."""
    known = {"key", "ask", "options", "number", "answer", "why", "source"}
    for name in entry:
        if name not in known:
            raise ValueError(f"question {key}: unknown entry {name!r}.{did_you_mean(name, known)}")
    options = tuple(Option(**option) for option in entry.get("options", ()))
    scale = Scale(**entry["number"]) if "number" in entry else None
    if bool(options) == bool(scale):
        raise ValueError(f"question {key} needs either options or a number.")
    letter = entry.get("answer")
    if (letter is None) != (kind == "predict"):
        raise ValueError(f"question {key}: a prediction has no answer in the file, every other question has.")
    if letter is not None and letter not in LETTERS[: len(options)]:
        raise ValueError(f"question {key}: answer {letter!r} is not the letter of an option.")
    return Question(
        key=key,
        kind=kind,
        text=entry["ask"].strip(),
        options=options,
        scale=scale,
        answer=None if letter is None else LETTERS.index(letter),
        why=entry.get("why", "").strip(),
        source=str(entry.get("source", "")),
    )


@cache
def read_questions(folder: Path = FOLDER) -> Mapping[str, Question]:
    """Return every question of the course by its key, in the order of the files."""
    import yaml

    questions: dict[str, Question] = {}
    for path in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for kind in KINDS:
            for entry in content.get(kind, ()):
                question = make_question(str(entry["key"]), kind, entry)
                if question.key in questions:
                    raise ValueError(f"{path.name}: there are two questions {question.key}.")
                questions[question.key] = question
    return questions


def find_question(key: str) -> Question:
    """Return the question of a key. Raises ValueError that suggests the nearest key."""
    questions = read_questions()
    if key not in questions:
        predictions = [name for name, question in questions.items() if question.kind == "predict"]
        raise ValueError(
            f"the course has no question {key!r}.{did_you_mean(key, questions)} The predictions are: "
            f"{', '.join(predictions)}."
        )
    return questions[key]


def questions_of(notebook: str, kind: str) -> list[Question]:
    """Return the questions of one kind of one notebook, by its number: "01"."""
    of_kind = [q for q in read_questions().values() if q.kind == kind]
    chosen = [question for question in of_kind if question.key.split("-")[0] == notebook]
    if not chosen:
        numbers = sorted({question.key.split("-")[0] for question in of_kind})
        raise ValueError(f"there is no {kind} question for notebook {notebook!r}: only for {numbers}.")
    return chosen
