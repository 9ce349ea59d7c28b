"""The three steps before a function is written: read a worked loop, order its lines, fill in blanks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from html import escape
from typing import Any

from ..course.cards import BOX, RUN, STYLE, show_html
from ..display import is_static
from .check import case_words, find_exercise
from .exercise import Answer
from .judge import judge
from .texts import ExerciseText, exercise_text

STEPS = ("1. Read", "2. Order the lines", "3. Fill in the blanks")
BLANK = "____"


def practise(name: str) -> None:
    """Show the steps that lead to an exercise. Without a kernel only the first is shown, the worked loop.

    Raises ValueError for an unknown exercise.
    """
    task, text = find_exercise(name).task, exercise_text(name)
    worked = f"<p>{escape(task)}</p><pre>{escape(text.worked)}</pre>"
    if is_static():
        title = f"{name}: a worked example in plain loops"
        html = f'<details class="{BOX}"><summary>{escape(title)}</summary>{worked}</details>'
        show_html(html, f"{title}\n{text.worked}")
        return
    from IPython.display import display

    display(Practice(name, text, worked).box)


def compile_function(name: str, code: str) -> Answer:
    """Return the function that a piece of code defines. Raises what the code raises, NameError without it."""
    namespace: dict[str, Any] = {}
    exec(exercise_text(name).imports, namespace)
    exec(code, namespace)
    if name not in namespace:
        raise NameError(f"the lines define no function {name}")
    return namespace[name]


def try_code(name: str, lines: Sequence[str]) -> tuple[bool, str]:
    """Compile lines of code and check the function that they make. Returns (right, what to say)."""
    try:
        function = compile_function(name, "\n".join(lines))
    except SyntaxError as error:
        return False, f"Python cannot read line {error.lineno}: {error.msg}."
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    verdict = judge(find_exercise(name), function)
    values = case_words(verdict) if verdict.mistake == "unknown" else ""  # the message points to them
    return verdict.right, f"{verdict.message}\n{values}".strip()


def order_remark(name: str, text: ExerciseText, lines: Sequence[str]) -> tuple[bool, str]:
    """Return whether these lines are in an order that works, and else where to look. Any order that works."""
    if try_code(name, lines)[0]:
        return True, "Right: this order works."
    place = next(i for i, (a, b) in enumerate(zip(lines, text.lines, strict=True)) if a != b)
    if place == 0:
        return False, "Not yet. Which line has to come first?"
    return (
        False,
        f"Not yet. The first {'line fits' if place == 1 else f'{place} lines fit'}. Look at the next one.",
    )


def with_blanks(text: ExerciseText, parts: Sequence[str]) -> list[str]:
    """Return the lines with these parts in the places of the blanks."""
    lines = list(text.lines)
    for (number, blank), part in zip(text.blanks, parts, strict=True):
        lines[number] = lines[number].replace(blank, part, 1)
    return lines


def shuffled(text: ExerciseText) -> list[str]:
    """Return the lines in another order, the same one each time."""
    lines = list(text.lines)
    draw = random.Random(len(text.worked))
    while len(set(lines)) > 1 and lines == list(text.lines):
        draw.shuffle(lines)
    return lines


class Practice:
    """Widgets of the three steps: radio buttons choose one, its widgets are below."""

    def __init__(self, name: str, text: ExerciseText, worked: str) -> None:
        import ipywidgets as widgets

        self.name, self.text, self.widgets = name, text, widgets
        self.line = widgets.HTML()
        self.line.add_class("sskd-line")
        wide = widgets.Layout(width="auto", max_width="100%")
        self.steps = widgets.RadioButtons(options=list(STEPS), value=STEPS[0], layout=wide)
        self.steps.add_class("sskd-sure")
        self.parts = {STEPS[0]: [widgets.HTML(worked)], STEPS[1]: self._order(), STEPS[2]: self._fill()}
        self.area = widgets.VBox(self.parts[STEPS[0]])
        self.steps.observe(self._choose, names="value")
        title = widgets.HTML(f'<p class="sskd-ask"><b>{escape(name)}</b> in three steps</p>')
        access = widgets.HTML(f"<style>{STYLE}</style>{RUN}", layout=widgets.Layout(display="none"))
        self.box = widgets.VBox([title, self.steps, self.area, self.line, access])
        self.box.add_class(BOX)

    def _button(self, text: str, act: Any) -> Any:
        button = self.widgets.Button(
            description=text, layout=self.widgets.Layout(width="auto", align_self="flex-start")
        )
        button.on_click(lambda _: self._safely(act))
        return button

    def _safely(self, act: Any) -> None:
        try:
            act()
        except Exception as error:  # the notebook front end would swallow it
            self._say(f"That did not work: {type(error).__name__}: {error}")

    def _say(self, words: str) -> None:
        self.line.value = f'<p style="white-space: pre-wrap">{escape(words)}</p>'

    def _choose(self, change: dict[str, Any]) -> None:
        self.area.children = self.parts[change["new"]]
        self.line.value = ""

    def _order(self) -> list[Any]:
        lines = shuffled(self.text)
        layout = self.widgets.Layout(width="min(52rem, 95%)")
        self.list = self.widgets.Select(
            options=_visible(lines), value=0, rows=len(lines), description="", layout=layout
        )
        self.list.add_class("sskd-code")
        self.lines = lines
        buttons = [
            self._button("Move up", lambda: self._move(-1)),
            self._button("Move down", lambda: self._move(1)),
            self._button("Check the order", self._check_order),
        ]
        return [self.list, self.widgets.HBox(buttons, layout=self.widgets.Layout(flex_flow="row wrap"))]

    def _move(self, step: int) -> None:
        at = int(self.list.value)
        to = min(max(at + step, 0), len(self.lines) - 1)
        self.lines[at], self.lines[to] = self.lines[to], self.lines[at]
        self.list.options = _visible(self.lines)
        self.list.value = to

    def _check_order(self) -> None:
        self._say(order_remark(self.name, self.text, self.lines)[1])

    def _fill(self) -> list[Any]:
        shown = with_blanks(self.text, [f"{BLANK}[{i}]" for i, _ in enumerate(self.text.blanks, 1)])
        code = self.widgets.HTML(f"<pre>{escape(chr(10).join(shown))}</pre>")
        layout = self.widgets.Layout(width="min(24rem, 95%)")
        self.fields = [
            self.widgets.Text(description=f"{BLANK}[{i}]", layout=layout)
            for i, _ in enumerate(self.text.blanks, 1)
        ]
        return [code, *self.fields, self._button("Check the blanks", self._check_blanks)]

    def _check_blanks(self) -> None:
        given = [field.value.strip() for field in self.fields]
        if not all(given):
            self._say("Fill in every blank first.")
            return
        right, words = try_code(self.name, with_blanks(self.text, given))
        self._say("Right. Now write the whole function yourself, in the cell below." if right else words)


def _visible(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Return the options of a list: a browser would drop spaces at the beginning."""
    return [(line.replace(" ", "\u00a0"), i) for i, line in enumerate(lines)]
