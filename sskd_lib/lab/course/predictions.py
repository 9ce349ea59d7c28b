"""Predict, then see: a guess is kept before the answer, and compared with what the notebook computes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from ..display import is_static
from .bank import Question, find_question, make_question
from .cards import BOX, QuestionCard, answer_text, folded, options_html, question_html, show_html
from .progress import change_progress, read_progress

TITLE = "Predict."
_extra: dict[str, Question] = {}  # questions that a lecturer wrote in a notebook


def predict(
    key: str, question: str = "", *, options: Sequence[str] = (), because: Sequence[str] = ()
) -> None:
    """Ask for a guess, which is kept in a local file; `reveal(key, truth)` compares it with the truth.

    key: of a question of the course, or a new one. A new one needs its text, its options, and for each the
    reason why it is right or wrong. Without a kernel the question is shown as text.
    The guess may be changed until the truth is shown. Raises ValueError for an unknown key without a
    question, and for options and reasons of different numbers.
    """
    asked = _question(key, question, options, because)
    if is_static():
        show_html(question_html(asked, TITLE), f"{TITLE} {asked.text}")
        return
    earlier = read_progress()["guesses"].get(key, {})
    card = QuestionCard(
        asked, TITLE, "Keep my guess", lambda a, s: _keep(asked, a, s), True, earlier.get("last")
    )
    if earlier:
        card.say(f"Your guess of an earlier run: {answer_text(asked, earlier['last'])}.")
    from IPython.display import display

    display(card.box)


def reveal(key: str, truth: Any, more: str = "") -> None:
    """Show the guess beside the truth, and say what is wrong with each wrong answer.

    truth: computed in the notebook: a number, or an option by its letter, its text or its place. Where the
    options stand for numbers, the nearest one is right. more: a sentence with the measured figures.
    Without a kernel the answer is folded. Raises ValueError for a truth that is no answer.
    """
    question = _extra.get(key) or find_question(key)
    right = float(truth) if question.scale else question.option_of(truth)
    text = f"The answer: {answer_text(question, right)}".rstrip(".") + "."
    if is_static():
        body = _compared(question, right, None, more)
        show_html(folded(body), " ".join(filter(None, (text, more, question.why))))
        return
    record = change_progress(lambda r: _settle(r, question, right))["guesses"].get(key)
    guess = None if record is None else record["last"]
    html = f'<div class="{BOX}">{_compared(question, right, guess, more)}</div>'
    show_html(html, " ".join(filter(None, (text, more, question.why))))


def is_right(question: Question, answer: Any, right: Any) -> bool:
    """Return whether an answer is right: the option, or a number as near as the scale allows."""
    if question.scale:
        return abs(float(answer) - float(right)) <= question.scale.close + 1e-9
    return int(answer) == int(right)


def _question(key: str, text: str, options: Sequence[str], because: Sequence[str]) -> Question:
    if not text:
        return find_question(key)
    if len(options) != len(because) or len(options) < 2:
        raise ValueError(
            f"a prediction needs two options or more, and a reason for each: there are {len(options)} "
            f"options and {len(because)} reasons."
        )
    entries = [dict(text=t, because=b) for t, b in zip(options, because, strict=True)]
    _extra[key] = make_question(key, "predict", {"ask": text, "options": entries})
    return _extra[key]


def _keep(question: Question, answer: Any, sure: str) -> str:
    def change(record: dict[str, Any]) -> None:
        kept = record["guesses"].setdefault(question.key, {"first": answer, "changes": 0})
        if "right" in kept:
            return
        kept["changes"] += "last" in kept
        kept |= {"last": answer, "sure": sure}

    kept = change_progress(change)["guesses"][question.key]
    if "right" in kept:
        return "<p>The answer has been shown already, so this guess is not counted.</p>"
    return f"<p>Kept: {escape(answer_text(question, answer))}. Now run the next cell.</p>"


def _settle(record: dict[str, Any], question: Question, right: Any) -> None:
    kept = record["guesses"].get(question.key)
    if kept is not None and "right" not in kept:
        kept |= {"truth": right, "right": is_right(question, kept["last"], right)}


def _compared(question: Question, right: Any, guess: Any, more: str) -> str:
    parts = []
    if guess is not None:
        verdict = "Your guess is right." if is_right(question, guess, right) else "Your guess is not right."
        parts.append(f"<p><b>{verdict}</b></p>")
    parts.append((_line if question.scale else options_html)(question, right, guess))
    parts += [f"<p>{escape(text)}</p>" for text in (more, question.why) if text]
    return "".join(parts)


def _line(question: Question, right: float, guess: float | None) -> str:
    """Return a line of numbers with the guess and the truth on it, and what a wrong guess overlooked."""
    scale = question.scale
    assert scale is not None
    words = f"The answer is {scale.text(right)}."
    if guess is not None:
        words += f" Your guess was {scale.text(guess)}."
    spots = [(right, "answer", 34, "#009E73", True)]
    if guess is not None:
        spots.append((guess, "your guess", 88, "#C95300", False))
    marks = []
    for value, name, y, colour, solid in spots:
        x = 40 + 520 * min(1.0, max(0.0, (value - scale.low) / (scale.high - scale.low)))
        fill = colour if solid else "none"
        marks.append(
            f'<circle cx="{x:.0f}" cy="60" r="8" fill="{fill}" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x:.0f}" y="{y}" text-anchor="middle" fill="currentColor" font-size="15">'
            f"{name} {escape(scale.text(value))}</text>"
        )
    ends = "".join(
        f'<text x="{x}" y="65" text-anchor="{a}" fill="currentColor" font-size="13">{scale.text(v)}</text>'
        for x, a, v in ((30, "end", scale.low), (570, "start", scale.high))
    )
    svg = (
        f'<svg viewBox="-40 10 680 90" width="600" role="img" aria-label="{escape(words)}">'
        f'<line x1="40" x2="560" y1="60" y2="60" stroke="currentColor" stroke-width="2"/>{ends}'
        f"{''.join(marks)}</svg>"
    )
    missed = ""
    if guess is not None and not is_right(question, guess, right):
        missed = scale.below if guess < right else scale.above
    return f"{svg}<p>{escape(words)} {escape(missed)}</p>"
