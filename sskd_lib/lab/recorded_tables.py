"""Tables of notebooks 04 and 08: what recorded trainings say, and the least that they could show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..evaluation import interval
from ..recipes import PRESETS
from .comparison.statistics import minus, verdict
from .time_machine_data import TERM_NAMES, TERMS, USUAL, Recording

UNITS = {"temperature": "τ = {:g}", "tf_keep": "L_T keeps {:.0%}", "ss_keep": "L_ss keeps {:.0%}"}


def last(recording: Recording, **settings: float) -> dict[int, float]:
    """Return the accuracy after the last epoch by seed, of the runs with exactly these settings."""
    return {
        int(one["seed"]): float(recording.accuracy[run, -1])
        for run, one in enumerate(recording.settings)
        if {name: value for name, value in one.items() if name != "seed"} == settings
    }


def contrasts(recording: Recording, name: str, labels: float) -> dict[str, list[float]]:
    """Return each value of a setting minus the usual one, seed by seed, all other settings as usual."""
    usual = last(recording, **USUAL, labels=labels)
    differences = {}
    for value in recording.values(name):
        if value != USUAL[name]:
            pairs = minus(last(recording, **USUAL | {name: value}, labels=labels), usual)
            differences |= {UNITS[name].format(value): pairs} if pairs else {}
    return differences


def contrast_words(differences: Mapping[str, Sequence[float]]) -> str:
    """Return paired differences in words, one line each."""
    return "\n".join(f"{name:>22}: {verdict(pairs)}" for name, pairs in differences.items())


def kept_share_words(recording: Recording, labels: int = 300) -> str:
    """Return in words what keeping no wrong row in L_T costs, against all rows, seed by seed."""
    every, none = (last(recording, **USUAL | {"tf_keep": share}, labels=labels) for share in (1.0, 0.0))
    mean, half = interval(minus(every, none))
    levels = (sum(runs.values()) / len(runs) for runs in (every, none))
    return (
        f"Recorded, embedded Fashion-MNIST, {labels} labels, {len(none)} seeds:\n"
        "all rows kept in L_T: {:.1f} % right; no wrong row kept: {:.1f} %\n".format(*levels)
        + f"the teacher's wrong answers are worth {mean:+.1f} ± {half:.1f} points (95 %, seed by seed)"
    )


def way_gone(recording: Recording, labels: float, part: float = 0.9) -> tuple[int, float, float]:
    """Return when this part of the way to the final accuracy is gone: epoch, accuracy there, at the end.

    The mean over the seeds of the usual setting, at the measured epochs.
    """
    wanted = USUAL | {"labels": labels}
    runs = [i for i, one in enumerate(recording.settings) if wanted.items() <= one.items()]
    mean = recording.accuracy[runs].mean(0)
    there = int(np.argmax((mean - mean[0]) / (mean[-1] - mean[0]) >= part))
    return int(recording.epochs(int(labels))[there]), float(mean[there]), float(mean[-1])


def way_words(recording: Recording) -> str:
    """Return, for each number of labels, the epoch after which 90 % of the way to the end is gone."""
    lines = []
    for labels in recording.values("labels"):
        epoch, there, end = way_gone(recording, labels)
        epochs = recording.epochs(int(labels))[-1]
        lines.append(
            f"{labels:5g} labels: 90 % of the way after epoch {epoch} of {epochs}, at {there:.1f} %; "
            f"the rest brings {end - there:+.1f}"
        )
    return "\n".join(lines)


def term_at_end(recording: Recording, term: str, labels: float) -> str:
    """Return the mean of a term in the last epoch for each share of wrong rows kept in L_T."""
    lines = []
    for share in recording.values("tf_keep"):
        wanted = USUAL | {"tf_keep": share, "labels": labels}
        runs = [i for i, one in enumerate(recording.settings) if wanted.items() <= one.items()]
        lines.append(
            f"{100 * share:3.0f} % kept: {TERM_NAMES[term]} {recording.terms[term][runs, -1].mean():.3f}, "
            f"accuracy {recording.accuracy[runs, -1].mean():.1f} %"
        )
    return "\n".join(lines)


def best_gains(recording: Recording, labels: float) -> tuple[float, float, list[tuple[float, ...]], int]:
    """Return the gain of the best setting on the seeds that chose it, and on the seed that was left out.

    Also the settings that were chosen, one for each seed left out, and the number of settings.
    """
    usual = last(recording, **USUAL, labels=labels)
    points = {tuple(v for k, v in one.items() if k != "seed") for one in recording.settings}
    tables = {
        point: runs
        for point in sorted(points)
        if point[-1] == labels
        and (runs := last(recording, **dict(zip((*USUAL, "labels"), point, strict=True)))).keys()
        == usual.keys()
    }
    chosen, fresh = [], []
    picks: list[tuple[float, ...]] = []
    for out in usual:
        gain = {p: np.mean([runs[s] - usual[s] for s in usual if s != out]) for p, runs in tables.items()}
        best = max(gain, key=gain.get)
        chosen.append(gain[best])
        fresh.append(tables[best][out] - usual[out])
        picks.append(best)
    return float(np.mean(chosen)), float(np.mean(fresh)), picks, len(tables)


def best_of_many(recording: Recording, labels: float) -> str:
    """Return `best_gains` in words."""
    chosen, fresh, picks, count = best_gains(recording, labels)
    words = [f"τ = {best[0]:g}, L_T keeps {best[1]:.0%}, L_ss {best[2]:.0%}" for best in picks]
    return (
        f"best of {count} settings, {labels:g} labels: gain on the seeds that chose it {chosen:+.2f}, "
        f"on the seed left out {fresh:+.2f} points\nchosen: " + "; ".join(words)
    )


def official() -> dict[str, float]:
    """Return the weights of the preset official-code."""
    return {name: float(getattr(PRESETS["official-code"], name)) for name in TERMS}


def term_gains(recording: Recording) -> dict[str, list[float]]:
    """Return what each term adds in official-code: the mix minus the same mix with this weight at 0."""
    whole = last(recording, **official())
    return {TERM_NAMES[name]: minus(whole, last(recording, **official() | {name: 0.0})) for name in TERMS}


def gains_in_every_mix(recording: Recording, term: str) -> str:
    """Return what switching a term on changes, in each mix of official-code's weights without it."""
    weights, lines = official(), []
    mixes = {tuple(one[name] for name in TERMS) for one in recording.settings}
    for mix in sorted(mixes):
        bare = dict(zip(TERMS, mix, strict=True))
        without, more = last(recording, **bare), last(recording, **bare | {term: weights[term]})
        if bare[term] == 0 and all(bare[name] in (0, weights[name]) for name in TERMS) and more:
            on = " + ".join(TERM_NAMES[name] for name in TERMS if bare[name])
            level = sum(without.values()) / len(without)
            lines.append(f"{on:>20}: {level:5.1f} %, {verdict(minus(more, without))}")
    return f"{TERM_NAMES[term]} switched on in\n" + "\n".join(lines)


def weight_words(recording: Recording) -> str:
    """Return other weights minus official-code: the other presets, and further weights of L_ss."""
    usual, lines = last(recording, **official()), []
    rows = {name: {t: float(getattr(p, t)) for t in TERMS} for name, p in PRESETS.items()}
    more = sorted({one["ss"] for one in recording.settings} - {0.0, *(row["ss"] for row in rows.values())})
    rows |= {f"λ_ss = {weight:g}": official() | {"ss": weight} for weight in more}
    for name, weights in rows.items():
        if weights != official() and (runs := last(recording, **weights)):
            lines.append(f"{name:>16}: {verdict(minus(runs, usual))}")
    return "minus official-code\n" + "\n".join(lines)
