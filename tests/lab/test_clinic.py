"""The clinic: each mistake has its signs in the recorded runs, and each diagnosis its own true answer."""

from __future__ import annotations

import base64
import itertools
import json

import numpy as np
import pytest

from sskd_lib import lab
from sskd_lib.data.load import DATA_FOLDER
from sskd_lib.evaluation import interval
from sskd_lib.lab.patients.chart import CHARTS, draw_chart, results
from sskd_lib.lab.patients.diagnosis import answer, speaking_signs
from sskd_lib.lab.patients.explanations import EXPLANATIONS
from sskd_lib.lab.patients.recording import FILE, diagnoses, healthy, load_clinic, patients
from sskd_lib.lab.patients.signs import SIGNS

PAIRS = list(itertools.product(patients(), diagnoses()))
RECORDS = load_clinic()[0]
SEEDS = list(range(len(healthy().last_accuracy())))


def first(fault: str, seed: int = 0) -> np.ndarray:
    """The four terms at the first step over those of the healthy run."""
    return RECORDS[fault]["first_steps"][seed, 0] / RECORDS["healthy"]["first_steps"][seed, 0]


# ---- the patients --------------------------------------------------------------------------------


def test_every_mistake_is_one_patient_whose_name_says_nothing():
    assert (
        sorted(record.fault for record in patients().values()) == sorted(diagnoses()) == sorted(EXPLANATIONS)
    )
    assert list(patients()) == [f"patient {n}" for n in range(1, 9)]
    in_order = [record.fault for record in patients().values()]
    assert in_order != list(diagnoses()) and in_order != sorted(in_order)


def test_the_file_is_small_and_its_card_says_how_it_was_made():
    card = json.loads(FILE.with_suffix(".json").read_bytes())
    assert FILE.stat().st_size < 1_000_000
    assert card["made_by"] == ["python data/make_clinic.py train", "python data/make_clinic.py pack"]
    assert card["seeds"] == SEEDS and len(card["faults"]) == 9
    assert {"versions", "runtime", "date"} <= set(card["machines"][0])
    assert all(len(record["test_accuracy"]) == len(card["seeds"]) for record in RECORDS.values())


# ---- signs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_without_tau_squared_the_terms_are_divided_by_it(seed):
    assert first("no tau squared", seed) == pytest.approx([1, 1 / 16, 1 / 16, 4], rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_step_shows_which_part_a_mistake_touches(seed):
    """Equal to all digits where the mistake has no part in a term, and changed where it has."""
    changed = {fault: (np.abs(first(fault, seed) - 1) > 2e-5).tolist() for fault in diagnoses()}
    assert changed == {
        "no tau squared": [False, True, True, True],
        "KL turned round": [False, True, True, True],
        "worst rows kept": [False, False, False, True],
        "teacher in train mode": [False, True, True, True],
        "padding after normalising": [True, True, True, True],
        "views shifted by one": [False, False, True, True],
        "two student forwards": [True, True, True, True],
        "learning rate x10": [False, False, False, False],
    }


@pytest.mark.parametrize(
    ("sign", "fault"),
    [
        ("repeats", "teacher in train mode"),
        ("matching", "views shifted by one"),
        ("border", "padding after normalising"),
        ("dropped", "worst rows kept"),
        ("alone", "two student forwards"),
        ("moved", "learning rate x10"),
    ],
)
def test_a_sign_of_one_mistake_is_that_of_no_other(sign, fault):
    levels = {name: SIGNS[sign].level(SIGNS[sign].measure(r, healthy())) for name, r in RECORDS.items()}
    usual = levels.pop("healthy")
    assert {name for name, level in levels.items() if level != usual} == {fault}


def test_the_frame_after_normalising_has_the_mean_grey():
    (mean,) = lab_statistics()
    assert SIGNS["border"].measure(RECORDS["padding after normalising"], healthy()) == round(255 * mean)


def lab_statistics() -> list[float]:
    """The mean of the pack's training images, from 0 to 1, one per channel."""
    with np.load(DATA_FOLDER / "fashion-mnist-lab.npz") as pack:
        images = next(pack[name] for name in pack.files if "train" in name and pack[name].ndim > 2)
    return [float(images.mean()) / 255]


def test_the_shifted_answers_are_those_of_the_next_turn():
    table = RECORDS["views shifted by one"]["matches"][:, 0]
    assert (table[:, [0, 1, 2, 3], [0, 2, 3, 1]] == 100).all()
    assert (np.diagonal(healthy()["matches"][:, 0], axis1=1, axis2=2) == 100).all()


# ---- diagnoses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("patient", "guess"), PAIRS)
def test_a_wrong_diagnosis_gets_a_true_sign_and_never_the_answer(patient, guess):
    record = patients()[patient]
    right, text = answer(patient, guess)
    assert right == (guess == record.fault)
    if right:
        return
    others = [name for name in diagnoses() if name != guess]
    assert not any(name.casefold() in text.casefold() for name in others)
    sign = speaking_signs(record, guess)[0]
    in_guess, in_patient = (sign.words(sign.measure(r, healthy())) for r in (RECORDS[guess], record))
    assert in_guess != in_patient and in_guess in text and in_patient in text
    assert f"lab.clinic('{patient}', '{sign.chart}')" in text and sign.chart in CHARTS


def test_every_pair_has_an_answer_of_its_own():
    assert len({answer(patient, guess)[1] for patient, guess in PAIRS}) == len(PAIRS) == 64


@pytest.mark.parametrize("patient", patients())
def test_the_right_diagnosis_is_explained_with_line_and_cost(patient):
    record = patients()[patient]
    text, explanation = answer(patient, record.fault.upper())[1], EXPLANATIONS[record.fault]
    assert explanation.mechanism in text and explanation.file in text
    assert explanation.line in (DATA_FOLDER.parent / explanation.file).read_text(encoding="utf-8")
    mean, half = interval(record.last_accuracy() - healthy().last_accuracy())
    spread = f" ± {half:.1f}" if len(SEEDS) > 1 else ""
    assert f"{mean:+.1f}{spread} points" in text
    assert ("no difference" in text) == (abs(mean) <= half)


def test_unknown_words_get_the_nearest_and_the_list(capsys):
    with pytest.raises(ValueError, match=r"Did you mean 'no tau squared'\? The diagnoses are: .*worst rows"):
        lab.diagnose("patient 1", "no tau squarred")
    with pytest.raises(ValueError, match=r"Did you mean 'patient 8'\?|The diagnoses are|Its patients are"):
        lab.diagnose("patient8", "no tau squared")
    with pytest.raises(ValueError, match=r"no diagnosis of this clinic\. The diagnoses are"):
        lab.diagnose("patient 1", 3)
    with pytest.raises(ValueError, match=r"no chart 'curve'\. Did you mean 'curves'\?"):
        lab.clinic("patient 1", "curve")
    lab.diagnose("patient 1", "no tau squared")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


# ---- charts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_has_words_with_the_patients_numbers_and_no_name_of_a_mistake(chart):
    texts = set()
    for patient in patients():
        figure, words = draw_chart(patient, chart)
        drawn = " ".join(t.get_text() for axes in figure.axes for t in [axes.title, *axes.texts])
        assert patient in words
        assert not any(name.casefold() in f"{words} {drawn}".casefold() for name in diagnoses())
        texts.add(words.replace(patient, ""))
    assert len(texts) > 1


def test_curves_are_those_of_the_recording():
    figure, words = draw_chart("patient 1", "curves")
    usual, line = figure.axes[1].lines
    record = patients()["patient 1"]
    assert np.asarray(line.get_ydata()) == pytest.approx(record["kd"][:, 1:].mean(0), rel=1e-6)
    assert np.asarray(usual.get_ydata()) == pytest.approx(healthy()["kd"][:, 1:].mean(0), rel=1e-6)
    assert f"L_kd {record['kd'][:, -1].mean():.3g}" in words


def test_clinic_shows_each_chart_as_a_picture_with_its_text(static, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **more: shown.append((data, more["metadata"]))
    )
    lab.clinic("patient 3", "first step", "views")
    lab.clinic("patient 3")
    expected = [draw_chart("patient 3", chart)[1] for chart in ("first step", "views", "curves", "matrices")]
    assert [metadata["image/png"]["alt"] for _, metadata in shown] == expected
    assert all(base64.b64decode(data["image/png"]).startswith(b"\x89PNG") for data, _ in shown)


def test_the_first_figure_has_every_run_and_no_name_of_a_mistake():
    figure, words = results()
    lines = {tuple(np.ravel(line.get_xdata())): line for line in figure.axes[0].lines}
    records = [healthy(), *patients().values()]
    assert list(lines) == [tuple(record.last_accuracy()) for record in records]
    assert all(f"{record.last_accuracy().mean():.1f}" in words for record in records)
    assert not any(name in words for name in diagnoses())
