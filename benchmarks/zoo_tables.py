"""The tables of all methods in docs/results.md, from the recorded runs; trains nothing.

    python benchmarks/zoo_tables.py

results/zoo has every method on two pairs of networks after 24 epochs, results/zoo_60 some of them on the
first pair after 60; `python -m sskd_lib reproduce` made both, and their results.md quote the commands.
Methods that were run with other numbers than the library has today get a dagger and a line below the table.
"""

from __future__ import annotations

import textwrap
from typing import Any

from sskd_lib.lab.comparison.runs import FOLDER, LONGER, changed_since, zoo_runs
from sskd_lib.losses import METHODS
from sskd_lib.reproduce.results import result_rows

Rows = dict[str, dict[str, Any]]  # method → its row of the results
CHANGED = changed_since(zoo_runs())  # method → what its runs had, and what the library has today
SINCE = "25 November 2026"


def by_pair(folder: Any) -> dict[str, Rows]:
    """The rows of each pair of networks in a record."""
    pairs: dict[str, Rows] = {}
    for row in result_rows(zoo_runs(folder)):
        pairs.setdefault(row["pair"], {})[row["method"]] = row
    return pairs


def accuracy(row: dict[str, Any] | None) -> str:
    """Of the last epoch, with its interval; nothing for a method that was not run."""
    return f"{row['last']:.2f} ± {row['last ±']:.2f}" if row else ""


def gap(row: dict[str, Any] | None) -> str:
    """Difference to KD, seed by seed, with its interval; nothing for KD itself."""
    return f"{row['minus kd']:+.2f} ± {row['minus kd ±']:.2f}" if row and row["method"] != "kd" else ""


def table(head: list[str], rows: dict[str, list[str]]) -> str:
    """Cells as Markdown, by method, and the footnote of the methods with a dagger."""
    named = [[f"`{method}`{' †' * (method in CHANGED)}", *cells] for method, cells in rows.items()]
    above, *lines = ("| " + " | ".join(line) + " |" for line in [head, *named])
    then = "; ".join(f"`{method}` with {words}" for method, words in CHANGED.items() if method in rows)
    note = textwrap.fill(f"† Run with the default before {SINCE}: {then}.", 125)
    return "\n".join([above, "|" + "---|" * len(head), *lines, *(["", note] if then else [])])


def every_method() -> str:
    """All methods on both pairs, 24 epochs."""
    pairs = by_pair(FOLDER)
    head = ["method"]
    for pair in pairs:
        head += [f"{pair.replace('→', ' → ')} (%)", "minus KD"]
    return table(
        head, {m: [f(rows.get(m)) for rows in pairs.values() for f in (accuracy, gap)] for m in METHODS}
    )


def longer() -> str:
    """Some of them on the first pair, 24 epochs beside 60."""
    ((pair, after_60),) = by_pair(LONGER).items()
    after_24 = by_pair(FOLDER)[pair]
    head = ["method", "minus KD, 24 epochs", "60 epochs (%)", "minus KD, 60 epochs"]
    return table(head, {m: [gap(after_24[m]), accuracy(r), gap(r)] for m, r in after_60.items()})


if __name__ == "__main__":
    print(every_method(), longer(), sep="\n\n")
