"""Wagers on the verdicts: the learner bets on each claim, and the record of trainings settles the bets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..course.cards import BOX, RUN, STYLE, show_html
from ..course.progress import change_progress, read_progress
from ..display import is_static
from .figures import MARKS, unit_of
from .rows import read_rows
from .verdicts import Estimate, Verdict, verdicts

WORDS = ("holds", "not shown", "contradicted")
STAKES = (1, 2, 3)
GROUP = "wagers"  # of the learner's record


def claim_verdicts() -> dict[str, Verdict]:
    """Return the verdict of each claim of the plan, from the recorded trainings: id → verdict."""
    return verdicts(read_rows())


def keep_wagers(wagers: Mapping[str, tuple[str, int]]) -> int:
    """Keep wagers in the learner's record: id of a claim → (verdict, stake). Return how many it has now.

    A wager whose verdict has been shown stays as it is. Raises ValueError for a word or a stake that is none.
    """
    for word, stake in wagers.values():
        if word not in WORDS or stake not in STAKES:
            raise ValueError(
                f"a wager is one of {', '.join(WORDS)} and a stake of 1 to 3, not {word!r} and {stake!r}."
            )

    def change(record: dict[str, Any]) -> None:
        kept = record.setdefault(GROUP, {})
        for key, (word, stake) in wagers.items():
            if not kept.get(key, {}).get("settled"):
                kept[key] = {"verdict": word, "stake": stake}

    return len(change_progress(change)[GROUP])


def points(wager: Mapping[str, Any] | None, word: str) -> int:
    """Return what a wager brings: its stake, minus its stake, or 0 without a wager or a verdict."""
    if wager is None or word == "not tried":
        return 0
    return wager["stake"] if wager["verdict"] == word else -wager["stake"]


class WagerCard:
    """Widgets: for each claim that was tried a list of verdicts and a list of stakes; one button for all."""

    def __init__(self, by_claim: Mapping[str, Verdict], kept: Mapping[str, Any]) -> None:
        import ipywidgets as widgets

        self.choices = {}
        rows = []
        tried = [(key, verdict) for key, verdict in by_claim.items() if verdict.word != "not tried"]
        for number, (key, verdict) in enumerate(tried, 1):
            earlier = kept.get(key, {})
            text = widgets.HTML(
                f'<p class="sskd-ask">{number}. {escape(verdict.claim.claim)}</p>',
                layout=widgets.Layout(flex="1 1 20rem", min_width="0"),
            )
            word = widgets.Dropdown(
                options=[("no wager", ""), *((w, w) for w in WORDS)],
                value=earlier.get("verdict", ""),
                description=f"Verdict {number}",
                style={"description_width": "9ch"},
                layout=widgets.Layout(flex="0 0 14rem", width="14rem"),
            )
            stake = widgets.Dropdown(
                options=list(STAKES),
                value=earlier.get("stake", 1),
                description=f"Stake {number}",
                style={"description_width": "8ch"},
                layout=widgets.Layout(flex="0 0 9rem", width="9rem"),
            )
            self.choices[key] = (word, stake)
            wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
            rows.append(widgets.HBox([text, word, stake], layout=wrap))
        self.button = widgets.Button(
            description="Keep my wagers", layout=widgets.Layout(width="auto", align_self="flex-start")
        )
        self.button.on_click(lambda _: self.keep())
        self.line = widgets.HTML()
        self.line.add_class("sskd-line")
        access = widgets.HTML(f"<style>{STYLE}</style>{RUN}", layout=widgets.Layout(display="none"))
        self.box = widgets.VBox([*rows, self.button, self.line, access])
        self.box.add_class(BOX)

    def wagers(self) -> dict[str, tuple[str, int]]:
        """Return the wagers that are chosen: id → (verdict, stake)."""
        return {key: (word.value, stake.value) for key, (word, stake) in self.choices.items() if word.value}

    def keep(self) -> None:
        """Keep what is chosen, and say how much of it there is."""
        wagers = self.wagers()
        if not wagers:
            self.line.value = "<p>Choose a verdict for at least one claim first.</p>"
            return
        try:
            count = keep_wagers(wagers)
        except Exception as error:  # the notebook front end would swallow it
            self.line.value = f"<p>That did not work: {escape(f'{type(error).__name__}: {error}')}</p>"
            return
        left = len(self.choices) - count
        more = f" {left} claims have none." if left > 0 else ""
        self.line.value = f"<p>Kept: {count} wagers.{more} Now run the next cell.</p>"


def wager_claims() -> WagerCard | None:
    """Let the learner wager on the verdict of each claim that was tried, with a stake of 1 to 3 points.

    The wagers stay in the learner's local record; `settle_wagers` settles them. Without a kernel the claims
    are listed, and it returns None.
    """
    by_claim = claim_verdicts()
    if is_static():
        listed = [verdict for verdict in by_claim.values() if verdict.word != "not tried"]
        items = "".join(f"<li>{escape(verdict.claim.claim)}</li>" for verdict in listed)
        words = "Holds, not shown, or contradicted? And for how many points, 1 to 3?"
        html = f'<div class="{BOX}"><p><b>Your wagers.</b> {words}</p><ol>{items}</ol></div>'
        lines = "\n".join(f"{i}. {verdict.claim.claim}" for i, verdict in enumerate(listed, 1))
        show_html(html, f"Your wagers. {words}\n{lines}")
        return None
    from IPython.display import display

    card = WagerCard(by_claim, read_progress().get(GROUP, {}))
    display(card.box)
    return card


def settle_wagers() -> None:
    """Show each claim's verdict, effect, seeds and least detectable effect, beside the learner's wager.

    A wager that was right brings its stake, a wrong one costs it. Without wagers the verdicts stand alone.
    """
    by_claim = claim_verdicts()
    wagers = {} if is_static() else _settle(by_claim)
    rows = [_row(verdict, wagers.get(key), bool(wagers)) for key, verdict in by_claim.items()]
    head = ["claim", "verdict", "effect, 95 % interval", "seeds", "least effect that could have shown"]
    head += ["your wager", "points"] if wagers else []
    html = f"<table>{_line(head, 'th')}{''.join(_line(row, 'td') for row in rows)}</table>"
    text = "\n".join(_plain(verdict, wagers.get(key)) for key, verdict in by_claim.items())
    score = _score(by_claim, wagers)
    show_html(f"{html}<p>{escape(score)}</p>" if score else html, f"{text}\n{score}".strip())


def _line(cells: Sequence[str], tag: str) -> str:
    left = 'style="text-align: left"'
    return f"<tr>{''.join(f'<{tag} {left}>{cell}</{tag}>' for cell in cells)}</tr>"


def _settle(by_claim: Mapping[str, Verdict]) -> dict[str, Any]:
    """Mark the wagers whose verdict is shown now, and return all of them."""
    if not read_progress().get(GROUP):
        return {}

    def change(record: dict[str, Any]) -> None:
        for key, wager in record[GROUP].items():
            if key in by_claim and by_claim[key].word != "not tried":
                wager["settled"] = True

    return dict(change_progress(change)[GROUP])


def _score(by_claim: Mapping[str, Verdict], wagers: Mapping[str, Any]) -> str:
    """Return the score in words; "" without wagers."""
    words = {key: verdict.word for key, verdict in by_claim.items() if verdict.word != "not tried"}
    tried = {key: wager for key, wager in wagers.items() if key in words}
    if not tried:
        return ""
    right = sum(wager["verdict"] == words[key] for key, wager in tried.items())
    score = sum(points(wager, words[key]) for key, wager in tried.items())
    most = sum(wager["stake"] for wager in tried.values())
    return f"{right} of {len(tried)} wagers are right. Your score: {score:+d} of {most} points."


def _row(verdict: Verdict, wager: Mapping[str, Any] | None, wagered: bool) -> list[str]:
    """Return the cells of a claim, as HTML."""
    row = [
        escape(verdict.claim.claim),
        f"{MARKS[verdict.word][3]} {verdict.word}".replace(" ", "&nbsp;"),
        "<br>".join(escape(effect(each)) for each in verdict.primary),
        str(min(each.seeds for each in verdict.primary)),
        least(verdict),
    ]
    if wagered:
        row += [f"{wager['verdict']}, {wager['stake']}" if wager else "", _gain(verdict, wager)]
    return row


def _gain(verdict: Verdict, wager: Mapping[str, Any] | None) -> str:
    return f"{points(wager, verdict.word):+d}" if wager and verdict.word != "not tried" else ""


def _plain(verdict: Verdict, wager: Mapping[str, Any] | None) -> str:
    effects = "; ".join(effect(each) for each in verdict.primary)
    yours = f" Your wager: {wager['verdict']}, {_gain(verdict, wager)}." if wager else ""
    return f"{verdict.claim.claim} {verdict.word}: {effects}.{yours}"


def effect(each: Estimate) -> str:
    """Return an effect with its interval and its unit: "+0.29 ± 0.43 points"."""
    if not each.seeds:
        return "not trained yet"
    half = "" if math.isnan(each.half) else f" ± {each.half:.2f}"
    return f"{each.mean:+.2f}{half} {unit_of(each.comparison)}"


def least(verdict: Verdict) -> str:
    """Return the least effect that the seeds of a claim could have shown, as text."""
    values = [each.least for each in verdict.primary]
    known = [value for value in values if not math.isnan(value)]
    return f"{max(known):.2f}" if known else f"planned {verdict.planned:.2f}"
