"""Build the notebooks from notebooks/source/*.py (jupytext's percent format).

    python notebooks/build.py               run every source, write notebooks/NN_name.ipynb
    python notebooks/build.py 03 05         only these
    python notebooks/build.py --check       compare the notebooks with their sources; runs nothing
    python notebooks/build.py --html DIR    run every source, write a site that needs no network, and whose
                                            explorers move without a kernel; the notebooks stay

A built notebook holds static outputs: PNG images with alt text, no widgets, nothing from stderr, no timings.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

import colab
from kernels import WIDGET, NotebookFailure, Result, execute

NOTEBOOKS = Path(__file__).resolve().parent
MAX_BYTES = 1_000_000
MAX_PAGE = 16_000_000  # with all pictures of its explorers
ANSWER = "lab.reveal("  # in the source of a cell that answers a prediction
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}


def find_sources(names: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the sources, all or those whose names start with one of `names`, in order."""
    sources = sorted((folder / "source").glob("[0-9][0-9]_*.py"))
    for name in names:
        if not any(source.stem.startswith(name) for source in sources):
            known = ", ".join(source.stem for source in sources) or "none"
            raise NotebookFailure(f"no notebook source starts with {name!r}; there are: {known}")
    return [s for s in sources if not names or s.stem.startswith(tuple(names))]


def read_source(source: Path) -> NotebookNode:
    """Read one source as a notebook without outputs, below the two cells for Colab.

    The ids of its cells depend on nothing but the source. Where a cell answers a prediction, JupyterLab
    keeps its output folded until the reader unfolds it or runs the cell.
    """
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    kept = {key: notebook.metadata[key] for key in ("accelerator", "colab") if key in notebook.metadata}
    notebook.metadata = nbformat.from_dict(METADATA | kept)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells):
        digest = hashlib.sha256(cell.source.encode()).hexdigest()
        cell.id = f"{index:02d}-{digest[:8]}"
        if cell.cell_type == "code" and ANSWER in cell.source:
            cell.metadata.jupyter = nbformat.from_dict({"outputs_hidden": True})
    colab.add_cells(notebook, source.stem, source.parents[1])
    return notebook


def find_faults(notebook: NotebookNode, most: int = MAX_BYTES) -> list[str]:
    """Return what keeps an executed notebook from being published, one sentence each."""
    faults = []
    size = len(nbformat.writes(notebook).encode())
    if size > most:
        faults.append(f"{size} bytes, more than {most}: draw fewer or smaller images")
    if "widgets" in notebook.metadata:
        faults.append("holds the state of widgets")
    for index, cell in enumerate(notebook.cells):
        found = output_faults(cell) if cell.cell_type == "code" else []
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(", cell.source):
            found.append("shows an image without alt text")
        faults += [f"cell {index} {fault}" for fault in found]
    return faults


def output_faults(cell: NotebookNode) -> list[str]:
    """Return what is wrong with one code cell's outputs."""
    faults = []
    if cell.source.strip() and cell.execution_count is None:
        faults.append("was not run")
    for output in cell.outputs:
        if output.output_type == "error":
            faults.append(f"ended in {output.ename}")
        if output.output_type == "stream" and output.name == "stderr":
            faults.append("wrote to stderr")
        data = output.get("data", {})
        if WIDGET in data:
            faults.append("shows a widget, which no page without a kernel can draw")
        faults += [f"shows {kind}; use image/png" for kind in data if re.match("image/(?!png)", kind)]
        if "image/png" in data and not output.metadata.get("image/png", {}).get("alt", "").strip():
            faults.append(
                "shows an image without alt text; use display(figure, metadata={'image/png': {'alt': …}})"
            )
    return faults


def require_fit(notebook: NotebookNode, name: str, most: int = MAX_BYTES) -> None:
    """Raise NotebookFailure where the executed notebook has faults. most: bytes it may have."""
    if faults := find_faults(notebook, most):
        raise NotebookFailure("\n".join(f"{name}: {fault}" for fault in faults))


def write(path: Path, text: str) -> int:
    """Write the file whole or not at all; return its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)
    return path.stat().st_size


def build(source: Path) -> Result:
    """Run one source and write its notebook, which stays as it was where anything fails."""
    folder = source.parents[1]
    notebook = read_source(source)
    result = execute(notebook, source.stem, folder)
    require_fit(notebook, source.stem)
    result.size = write(folder / f"{source.stem}.ipynb", nbformat.writes(notebook) + "\n")
    return result


def find_differences(folder: Path = NOTEBOOKS) -> list[str]:
    """Return how the committed notebooks' cells differ from the sources, one sentence each."""
    sources = {source.stem: source for source in find_sources(folder=folder)}
    built = {path.stem: path for path in folder.glob("*.ipynb")}
    differences = [f"{name}: no source" for name in sorted(built.keys() - sources.keys())]
    for name, source in sources.items():
        if name not in built:
            differences.append(f"{name}: not built")
            continue
        notebook, expected = nbformat.read(built[name], as_version=4), read_source(source)
        if notebook.metadata != expected.metadata:
            differences.append(f"{name}: other metadata than its source")
        ours, theirs = (
            [(c.id, c.cell_type, c.source, c.metadata) for c in n.cells] for n in (notebook, expected)
        )
        if ours != theirs:
            first = next(
                (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), "at the end"
            )
            differences.append(f"{name}: other cells than its source, first: {first}")
    return differences


def summary(results: Sequence[Result]) -> str:
    """Return the table of results as text."""
    lines = [f"{'notebook':40} {'seconds':>8} {'peak MB':>8} {'KB':>6}"]
    for r in results:
        figures = f"{r.seconds:8.1f} {r.peak_mb:8.0f} {r.size / 1000:6.0f}"
        lines.append(f"{r.name:40} " + ("failed" if r.failure else figures))
    lines.append(f"{'together':40} {sum(r.seconds for r in results if not r.failure):8.1f}")
    return "\n".join(lines)


def run_for_page(source: Path) -> tuple[Result, NotebookNode]:
    """Run one source afresh, on the data that SSKD_DATASET names; return it as its page needs it."""
    notebook = read_source(source)
    dataset = os.environ.get("SSKD_DATASET")
    result = execute(notebook, source.stem, source.parents[1], dataset=dataset, pictures="page")
    require_fit(notebook, source.stem, MAX_PAGE)
    notebook.cells = colab.without_cells(notebook)
    return result, notebook


def publish(sources: Sequence[Path], out: Path, folder: Path) -> tuple[list[Result], list[str]]:
    """Run these sources, and write the site into `out`; return the results, and the faults of the site."""
    from site_pages import find_site_faults, write_site

    notebooks: dict[str, NotebookNode] = {}

    def run(source: Path) -> Result:
        result, notebooks[source.stem] = run_for_page(source)
        return result

    results = run_all(sources, run)
    sizes = write_site(out, find_sources(folder=folder), notebooks, results)
    return results, find_site_faults(out, sizes)


def run_all(sources: Sequence[Path], run: Callable[[Path], Result]) -> list[Result]:
    """Build or publish every source; one that fails does not stop the others."""
    results = []
    for source in sources:
        print(f"{source.stem} …", flush=True)
        try:
            results.append(run(source))
        except NotebookFailure as failure:
            print(failure, file=sys.stderr)
            results.append(Result(source.stem, failure=str(failure).splitlines()[0]))
    return results


def main(arguments: Sequence[str] | None = None, folder: Path = NOTEBOOKS) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 03; none means all")
    parser.add_argument("--check", action="store_true", help="compare with the sources, run nothing")
    parser.add_argument("--html", metavar="DIR", type=Path, help="write pages there, not notebooks")
    options = parser.parse_args(arguments)
    if options.check:
        differences = find_differences(folder)
        print("\n".join(differences) or "every notebook equals its source")
        return 1 if differences else 0
    try:
        sources = find_sources(options.names, folder)
    except NotebookFailure as failure:
        print(failure, file=sys.stderr)
        return 2
    faults: list[str] = []
    if options.html:
        results, faults = publish(sources, options.html, folder)
        print(f"open {options.html / 'index.html'}")
    else:
        results = run_all(sources, build)
    print(summary(results))
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    return 1 if faults or any(r.failure for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
