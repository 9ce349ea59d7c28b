"""The clinic as widgets, without a browser: lists, a button, a picture and a line of words."""

from __future__ import annotations

import html
import re

import pytest

from sskd_lib import lab
from sskd_lib.lab.patients import widget
from sskd_lib.lab.patients.chart import CHARTS, draw_chart
from sskd_lib.lab.patients.diagnosis import answer
from sskd_lib.lab.patients.recording import diagnoses, patients


@pytest.fixture
def consultation(monkeypatch):
    monkeypatch.setattr(widget, "static_reason", lambda: None)
    monkeypatch.setattr("IPython.display.display", lambda *shown, **more: None)
    yield lab.explore_clinic()
    while widget.OPEN:
        widget.OPEN.pop().close()


def text(consultation) -> str:
    return html.unescape(re.sub("<[^>]*>", "", consultation.words.value))


def test_every_list_has_a_label_and_all_its_options(consultation):
    labels = {part.description: part.options for part in consultation.parts[:3]}
    assert list(labels) == ["Patient", "Chart", "Diagnosis"]
    assert list(labels["Patient"]) == list(patients()) and list(labels["Chart"]) == list(CHARTS)
    assert [value for _, value in labels["Diagnosis"]] == [None, *diagnoses()]
    assert consultation.button.description == "Check the diagnosis"
    assert 'role="status"' in consultation.words.value  # the script announces this line


def test_picture_and_words_follow_patient_and_chart(consultation):
    pictures = {bytes(consultation.picture.value)}
    for patient, chart in (("patient 1", "first step"), ("patient 4", "first step"), ("patient 4", "views")):
        consultation.patient.value, consultation.chart.value = patient, chart
        assert text(consultation) == draw_chart(patient, chart)[1]
        pictures.add(bytes(consultation.picture.value))
    assert len(pictures) == 4


def test_the_button_answers_and_a_new_patient_forgets_it(consultation):
    consultation.button.click()
    assert text(consultation).startswith("Choose a diagnosis first.")
    for diagnosis in diagnoses():
        consultation.diagnosis.value = diagnosis
        consultation.button.click()
        assert text(consultation).startswith(answer("patient 1", diagnosis)[1])
    consultation.patient.value = "patient 2"
    assert consultation.diagnosis.value is None and text(consultation).startswith("Curves of patient 2")


def test_an_error_in_a_chart_is_shown(consultation, monkeypatch):
    def broken(patient: str, chart: str) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(widget, "chart_png", broken)
    consultation.chart.value = "views"
    assert text(consultation) == "The chart could not be drawn: OSError: the disk is full"
    assert 'role="alert"' in consultation.words.value


def test_a_second_clinic_closes_the_first(consultation):
    second = lab.explore_clinic()
    assert len(widget.OPEN) == 1 and widget.OPEN[0] is second
    assert consultation.box.comm is None and second.box.comm is not consultation.box.comm


def test_a_static_page_has_one_chart_and_no_diagnosis(static, capsys):
    assert lab.explore_clinic() is None
    printed = capsys.readouterr().out
    assert "Run this cell in JupyterLab" in printed
    assert not any(name in printed for name in diagnoses())
