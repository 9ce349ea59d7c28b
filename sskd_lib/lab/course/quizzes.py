"""Questions with known answers: three to recall, an exit ticket, and the concept inventory."""

from __future__ import annotations

from html import escape
from typing import Any

from ..display import is_static
from .bank import Question, questions_of
from .cards import QuestionCard, folded, lettered, options_html, question_html, show_html
from .progress import change_progress

TITLES = {"recall": "Recall", "exit": "Exit ticket"}


def recall(notebook: str) -> None:
    """Ask three questions about earlier notebooks; each choice is explained. notebook: its number, "03"."""
    _ask(notebook, "recall")


def exit_ticket(notebook: str) -> None:
    """Ask the question that closes a notebook. notebook: its number, "03"."""
    _ask(notebook, "exit")


def inventory(moment: str) -> None:
    """Ask the ten questions of the concept inventory, without saying what is right.

    moment: "before" the course, or "after" it. Raises ValueError for another word.
    """
    if moment not in ("before", "after"):
        raise ValueError(f'the inventory is taken "before" or "after" the course, not {moment!r}.')
    _ask("inventory", "inventory", moment)


def _ask(notebook: str, kind: str, moment: str = "") -> None:
    questions = questions_of(notebook, kind)
    titles = [
        f"{TITLES.get(kind, 'Question')} {i}." if len(questions) > 1 else f"{TITLES[kind]}."
        for i, _ in enumerate(questions, 1)
    ]
    if is_static():
        for question, title in zip(questions, titles, strict=True):
            _print(question, title, answers=not moment)
        return
    import ipywidgets as widgets
    from IPython.display import display

    cards = [
        QuestionCard(q, t, "Keep" if moment else "Check", lambda a, _, q=q: _judge(q, a, moment))
        for q, t in zip(questions, titles, strict=True)
    ]
    display(widgets.VBox([card.box for card in cards]))


def explain(question: Question, answer: int) -> str:
    """Return what is said to an answer, as HTML: whether it is right, and why."""
    verdict = "Right." if answer == question.answer else "Not yet."
    text = f"<p><b>{verdict}</b> {escape(question.options[answer].because)}</p>"
    return text + (f"<p>{escape(question.why)}</p>" if question.why and answer == question.answer else "")


def _judge(question: Question, answer: Any, moment: str) -> str:
    def change(record: dict[str, Any]) -> None:
        key = f"{question.key}-{moment}" if moment else question.key
        kept = record["answers"].setdefault(key, {"first": answer, "tries": 0})
        kept |= {"last": answer, "right": answer == question.answer, "tries": kept["tries"] + 1}

    change_progress(change)
    return "<p>Kept.</p>" if moment else explain(question, int(answer))


def _print(question: Question, title: str, answers: bool) -> None:
    html = question_html(question, title)
    if answers:
        html += folded(options_html(question, question.answer) + f"<p>{escape(question.why)}</p>")
    options = " ".join(lettered(question, i) for i in range(len(question.options)))
    show_html(html, f"{title} {question.text} {options}")
