"""Answer a learner's diagnosis: explain the right one, and name a sign that speaks against a wrong one."""

from __future__ import annotations

import textwrap

from ...evaluation import interval
from ...files import did_you_mean
from ..comparison.statistics import minus
from .explanations import EXPLANATIONS
from .recording import Record, diagnoses, find_patient, healthy, load_clinic
from .signs import SIGNS, Sign


def answer(patient: str, diagnosis: str) -> tuple[bool, str]:
    """Return whether a diagnosis is right, and the answer in words.

    Right: the mechanism, the line of code, what it costs. Wrong: what would be seen with this diagnosis, and
    what is seen in the patient; never which mistake it is.
    Raises ValueError for an unknown patient or diagnosis.
    """
    record = find_patient(patient)
    guess = _as_diagnosis(diagnosis)
    if guess == record.fault:
        return True, _explain(patient, record)
    return False, _object(patient, record, guess)


def diagnose(patient: str, diagnosis: str) -> None:
    """Print the answer to a diagnosis of a patient: see `answer`. Raises ValueError for unknown names."""
    print(textwrap.fill(answer(patient, diagnosis)[1], 100))


def _as_diagnosis(diagnosis: object) -> str:
    """Return the name of a mistake, whatever its capitals. Raises ValueError for an unknown one."""
    known = {name.casefold(): name for name in diagnoses()}
    if isinstance(diagnosis, str) and diagnosis.casefold() in known:
        return known[diagnosis.casefold()]
    hint = did_you_mean(diagnosis, known.values()) if isinstance(diagnosis, str) else ""
    raise ValueError(
        f"{diagnosis!r} is no diagnosis of this clinic.{hint} The diagnoses are: {', '.join(known.values())}."
    )


def cost_words(record: Record) -> str:
    """Return what a mistake costs: test accuracy minus that of the healthy runs, pair by pair of seeds."""
    pairs = minus(*(dict(enumerate(runs.last_accuracy())) for runs in (record, healthy())))
    mean, half = interval(pairs)
    if len(pairs) == 1:
        return f"Test accuracy minus the healthy run's: {mean:+.1f} points (one seed: no interval)."
    verdict = " These seeds show no difference." if abs(mean) <= half else ""
    return (
        f"Test accuracy minus the healthy runs': {mean:+.1f} ± {half:.1f} points ({len(pairs)} seeds, 95 % "
        f"interval).{verdict}"
    )


def _explain(patient: str, record: Record) -> str:
    """Return the explanation of the right diagnosis."""
    text = EXPLANATIONS[record.fault]
    seen = "; ".join(SIGNS[name].words(SIGNS[name].measure(record, healthy())) for name in text.signs)
    return (
        f"Yes. {patient}: {record.fault}. {text.mechanism} The signs: {seen}. In the code: {text.file}, "
        f"{text.line!r}. {cost_words(record)}"
    )


def speaking_signs(record: Record, guess: str) -> list[Sign]:
    """Return the signs in which a patient differs from the recorded runs of another mistake.

    Those by which the mistake is known come first.
    """
    other, usual = load_clinic()[0][guess], healthy()
    order = dict.fromkeys((*EXPLANATIONS[guess].signs, *SIGNS))
    signs = (SIGNS[name] for name in order)
    return [s for s in signs if s.level(s.measure(record, usual)) != s.level(s.measure(other, usual))]


def _object(patient: str, record: Record, guess: str) -> str:
    """Return what speaks against a wrong diagnosis, and what it leaves unexplained."""
    other, usual = load_clinic()[0][guess], healthy()
    signs = speaking_signs(record, guess)
    first = signs[0]
    text = f"No. With the diagnosis {guess!r}, {first.words(first.measure(other, usual))}. In {patient}, "
    text += f"{first.words(first.measure(record, usual))}: see lab.clinic({patient!r}, {first.chart!r})."
    ill = [s for s in signs[1:] if s.level(s.measure(record, usual)) != s.level(s.measure(usual, usual))]
    if ill:
        text += f" It also does not explain that {ill[0].words(ill[0].measure(record, usual))}."
    return text
