"""The clinic as widgets: choose a patient, a chart and a diagnosis. Core ipywidgets only, 7.7 and 8."""

from __future__ import annotations

import functools
import io
import threading
from html import escape
from typing import Any

from ..display import DPI, show, static_reason
from ..explorers.accessibility import ACCESS, BOX
from .chart import CHARTS, draw_chart
from .diagnosis import answer
from .recording import diagnoses, patients

OPEN: list[Consultation] = []  # on the page: one at a time
LABEL = {"description_width": "10ch"}


@functools.cache
def chart_png(patient: str, chart: str) -> tuple[bytes, str]:
    """Draw a chart of a patient once. Returns PNG bytes and the alternative text."""
    figure, words = draw_chart(patient, chart)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor="white")
    return file.getvalue(), words


class Consultation:
    """Lists of patients, charts and diagnoses, a button, a picture, and a line of words.

    The script of the explorers' `ACCESS` gives the picture the line of words as its text and announces it.
    """

    def __init__(self) -> None:
        import ipywidgets as widgets

        self.lock, self.verdict = threading.Lock(), ""
        wide = widgets.Layout(width="auto", max_width="36rem")

        def choice(label: str, options: Any) -> Any:
            return widgets.Dropdown(options=options, description=label, style=LABEL, layout=wide)

        self.patient = choice("Patient", list(patients()))
        self.chart = choice("Chart", list(CHARTS))
        self.diagnosis = choice("Diagnosis", [("not yet", None), *((name, name) for name in diagnoses())])
        self.button = widgets.Button(
            description="Check the diagnosis", layout=widgets.Layout(width="auto", max_width="16rem")
        )
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.words, self.access = widgets.HTML(), widgets.HTML(ACCESS, layout=widgets.Layout(display="none"))
        self.parts = (self.patient, self.chart, self.diagnosis, self.button, self.words, self.picture)
        self.box = widgets.VBox([*self.parts, self.access])
        self.box.add_class(BOX)
        self.box.add_class("sskd-clinic")
        self.patient.observe(self._change_patient, names="value")
        self.chart.observe(lambda change: self.draw(), names="value")
        self.button.on_click(lambda button: self.check())
        self.draw()

    def _change_patient(self, change: Any) -> None:
        """Draw another patient, who has no diagnosis yet."""
        self.verdict, self.diagnosis.value = "", None
        self.draw()

    def check(self) -> None:
        """Answer the diagnosis that is chosen."""
        if self.diagnosis.value is None:
            self.verdict = "Choose a diagnosis first."
        else:
            self.verdict = answer(self.patient.value, self.diagnosis.value)[1]
        self.draw()

    def draw(self) -> None:
        """Bring picture and words to the values of the lists. An error is shown in the line of words."""
        with self.lock:
            try:
                picture, words = chart_png(self.patient.value, self.chart.value)
                verdict = f"<b>{escape(self.verdict)}</b> " if self.verdict else ""
                self.words.value = f'<p role="status" style="line-height: 1.4">{verdict}{escape(words)}</p>'
                self.picture.value = picture
            except Exception as error:  # the notebook front end would swallow it
                text = f"The chart could not be drawn: {type(error).__name__}: {error}"
                self.words.value = f'<p role="alert">{escape(text)}</p>'

    def close(self) -> None:
        """Take the widgets off the page and out of the kernel's memory."""
        for widget in (*self.parts, self.access, self.box):
            for part in (getattr(widget, "style", None), widget.layout, widget):  # widgets of their own
                if part is not None:
                    part.close()


def explore_clinic() -> Consultation | None:
    """Show the clinic: choose a patient and a chart, then a diagnosis, and check it.

    Without a kernel or without ipywidgets one chart is drawn, and there is nothing to choose; then it returns
    None.
    """
    reason = static_reason()
    if reason is not None:
        figure, words = draw_chart("patient 2", "curves")
        show(figure, alt=words)
        print(f"A static picture, because {reason}. Run this cell in JupyterLab to choose a diagnosis.")
        return None
    from IPython.display import display

    while OPEN:
        OPEN.pop().close()
    OPEN.append(Consultation())
    display(OPEN[0].box)
    return OPEN[0]
