"""Questions as HTML, and as radio buttons or a slider: core ipywidgets only, in the API of both 7.7 and 8."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from .bank import LETTERS, Question

BOX = "sskd-question"
STYLE = Path(__file__).with_name("course.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("course.js").read_text(encoding="utf-8")
RUN = f'<img hidden alt="" src="data:," onerror="{escape(" ".join(SCRIPT.split()))}">'
SURE = ("a guess", "fairly sure", "sure")


def lettered(question: Question, index: int) -> str:
    """Return an option with its letter: (b) text."""
    return f"({LETTERS[index]}) {question.options[index].text}"


def answer_text(question: Question, answer: Any) -> str:
    """Return an answer in words: the option with its letter, or the number with its unit."""
    return question.scale.text(float(answer)) if question.scale else lettered(question, int(answer))


def question_html(question: Question, title: str) -> str:
    """Return a question, with its options as a list, for a page that has no widgets."""
    parts = [f"<p><b>{escape(title)}</b> {escape(question.text)}</p>"]
    if question.options:
        items = (f"<li>{escape(lettered(question, i))}</li>" for i in range(len(question.options)))
        parts.append(f'<ul class="sskd-options">{"".join(items)}</ul>')
    return f'<div class="{BOX}">{"".join(parts)}</div>'


def options_html(question: Question, right: int | None, guess: int | None = None) -> str:
    """Return the options with their reasons; the right one and a wrong guess are marked."""
    rows = []
    for i, option in enumerate(question.options):
        text = escape(lettered(question, i))
        if i == right:
            text = f"✓ <mark>{text}</mark>"
        elif i == guess:
            text = f'<mark class="sskd-other">{text}</mark> (your guess)'
        rows.append(f"<p>{text}<br>{escape(option.because)}</p>")
    return "".join(rows)


def folded(body: str) -> str:
    """Return HTML that is folded under the words "The answer"."""
    return f'<details class="{BOX}"><summary>The answer</summary>{body}</details>'


def show_html(html: str, text: str) -> None:
    """Display HTML with the same in plain text; outside IPython the text is printed."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display

    if InteractiveShell.initialized():
        display({"text/html": f"<style>{STYLE}</style>{html}", "text/plain": text}, raw=True)
    else:
        print(text)


class QuestionCard:
    """Widgets of one question: its text, a choice or a slider, a button, and a line that answers.

    commit: called with the answer, and with how sure the learner is if `sure`; returns HTML for the line.
    """

    def __init__(
        self,
        question: Question,
        title: str,
        button: str,
        commit: Callable[[Any, str], str],
        sure: bool = False,
        start: Any = None,
    ) -> None:
        import ipywidgets as widgets

        self.question, self.commit = question, commit
        words = f'<p class="sskd-ask"><b>{escape(title)}</b> {escape(question.text)}</p>'
        self.words = widgets.HTML(words)
        wide = widgets.Layout(width="auto", max_width="100%")
        self.choice = (
            _number(widgets, question, start) if question.scale else _radio(widgets, question, start)
        )
        parts = [self.words, self.choice]
        self.sure = None
        if sure:
            self.sure = widgets.RadioButtons(options=list(SURE), value=SURE[0], layout=wide)
            self.sure.add_class("sskd-sure")
            parts += [widgets.HTML('<p class="sskd-small">How sure are you?</p>'), self.sure]
        self.button = widgets.Button(
            description=button, layout=widgets.Layout(width="auto", align_self="flex-start")
        )
        self.button.on_click(self._press)
        self.line = widgets.HTML()
        self.line.add_class("sskd-line")
        access = widgets.HTML(f"<style>{STYLE}</style>{RUN}", layout=widgets.Layout(display="none"))
        self.box = widgets.VBox([*parts, self.button, self.line, access])
        self.box.add_class(BOX)

    def _press(self, button: Any) -> None:
        answer = self.choice.value
        if answer is None:
            self.say("Choose an answer first.")
            return
        try:
            self.line.value = self.commit(answer, self.sure.value if self.sure else "")
        except Exception as error:  # the notebook front end would swallow it
            self.say(f"That did not work: {type(error).__name__}: {error}")

    def say(self, text: str) -> None:
        """Show a sentence below the button."""
        self.line.value = f"<p>{escape(text)}</p>"


def _radio(widgets: Any, question: Question, start: Any) -> Any:
    options = [(lettered(question, i), i) for i in range(len(question.options))]
    layout = widgets.Layout(width="auto", max_width="100%")
    return widgets.RadioButtons(options=options, value=start, layout=layout)


def _number(widgets: Any, question: Question, start: Any) -> Any:
    scale = question.scale
    assert scale is not None
    middle = scale.low + round((scale.high - scale.low) / 2 / scale.step) * scale.step
    return widgets.FloatSlider(
        value=middle if start is None else start,
        min=scale.low,
        max=scale.high,
        step=scale.step,
        readout_format=".0f" if scale.step >= 1 else ".2f",
        description=scale.unit,
        layout=widgets.Layout(width="min(36rem, 95%)"),
    )
