"""The program that builds notebooks and pages, on small notebooks written here."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

import build
import colab
import kernels
import pages

FIGURE = r"""# %% [markdown]
# # A figure
# Inline $T^2$ and
# $$\mathcal{L} = \sum_i p_i \log \frac{p_i}{q_i}$$
# On to [the next](02_next.ipynb#here).

# %% tags=["picture"]
import base64
import os
import sys
import warnings
from IPython.display import Image, display

pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
display(Image(base64.b64decode(pixel)), metadata={"image/png": {"alt": 'a "red" & small dot'}})
print(os.environ["SSKD_STATIC"], os.environ.get("SSKD_DATASET", "embedded"))
warnings.warn("not for the page")

# %%
import ipywidgets

ipywidgets.IntSlider()
"""


def write_source(folder: Path, name: str, text: str) -> Path:
    source = folder / "source" / f"{name}.py"
    source.parent.mkdir(exist_ok=True)
    source.write_text(text, encoding="utf-8")
    return source


def test_builder_writes_a_static_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSKD_DATASET", "cifar10")  # a person's setting; committed notebooks do not follow it
    write_source(tmp_path, "01_figure", FIGURE)
    assert build.main([], tmp_path) == 0
    printed = capsys.readouterr()
    assert "01_figure" in printed.out
    assert "not for the page" in printed.err
    notebook = nbformat.read(tmp_path / "01_figure.ipynb", as_version=4)
    assert build.find_faults(notebook) == []
    assert build.find_differences(tmp_path) == []
    *for_colab, _, figure, slider = notebook.cells
    assert for_colab and all(map(colab.is_for_colab, for_colab))
    image, text = figure.outputs
    assert image.metadata["image/png"]["alt"] == 'a "red" & small dot'
    assert text.text == "1 embedded\n"
    assert slider.outputs == []
    assert "widgets" not in notebook.metadata
    assert figure.metadata == {"tags": ["picture"]}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_builder_is_reproducible_and_notices_edits(tmp_path):
    source = write_source(tmp_path, "01_sum", "# %%\n1 + 1\n")
    build.build(source)
    built = tmp_path / "01_sum.ipynb"
    first = built.read_bytes()
    build.build(source)
    assert built.read_bytes() == first
    write_source(tmp_path, "01_sum", "# %%\n1 + 2\n")
    assert build.find_differences(tmp_path) == ["01_sum: other cells than its source, first: 2"]
    assert build.main(["--check"], tmp_path) == 1
    write_source(tmp_path, "02_new", "# %%\n1\n")
    built.rename(tmp_path / "03_old.ipynb")
    assert build.find_differences(tmp_path) == [
        "03_old: no source",
        "01_sum: not built",
        "02_new: not built",
    ]


def test_failing_notebook_is_reported_and_not_written(tmp_path, capsys):
    write_source(tmp_path, "01_bad", "# %%\nprint(1)\n\n# %%\nraise ValueError('the reason')\n")
    write_source(tmp_path, "02_good", "# %%\nprint(2)\n")
    (tmp_path / "01_bad.ipynb").write_text("as it was")
    assert build.main([], tmp_path) == 1
    printed = capsys.readouterr()
    assert "01_bad: cell 3 raised ValueError" in printed.err
    assert "the reason" in printed.err
    assert "failed" in printed.out
    assert (tmp_path / "01_bad.ipynb").read_text() == "as it was"
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".ipynb"] == ["source"]
    assert (tmp_path / "02_good.ipynb").exists()


def test_unknown_name_lists_the_notebooks(tmp_path, capsys):
    write_source(tmp_path, "01_sum", "# %%\n1 + 1\n")
    assert build.main(["07"], tmp_path) == 2
    assert "'07'; there are: 01_sum" in capsys.readouterr().err


def test_slow_notebook_is_stopped(tmp_path):
    notebook = build.read_source(write_source(tmp_path, "01_slow", "# %%\nimport time\n\ntime.sleep(9999)\n"))
    with pytest.raises(kernels.NotebookFailure, match="stopped after 3 s in cell 2:\nimport time"):
        kernels.execute(notebook, "01_slow", tmp_path, limit=3)


def test_dead_kernel_is_reported(tmp_path):
    notebook = build.read_source(write_source(tmp_path, "01_dead", "# %%\nimport os\nos._exit(1)\n"))
    with pytest.raises(kernels.NotebookFailure, match="the kernel died in cell 2"):
        kernels.execute(notebook, "01_dead", tmp_path)


def test_faults_are_found():
    new_output = nbformat.v4.new_output
    outputs = [
        new_output("display_data", {"image/png": "aaaa"}),
        new_output("display_data", {"image/svg+xml": "<svg/>"}),
        new_output("display_data", {kernels.WIDGET: {}}),
        new_output("stream", name="stderr", text="oh"),
        new_output("error", ename="ValueError", evalue="", traceback=[]),
        new_output("stream", text="x" * build.MAX_BYTES),
    ]
    cells = [
        nbformat.v4.new_markdown_cell("![](picture.png)"),
        nbformat.v4.new_code_cell("1", outputs=outputs, execution_count=1),
        nbformat.v4.new_code_cell("2"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"widgets": {}})
    faults = "\n".join(build.find_faults(notebook))
    for part in (
        "draw fewer",
        "state of widgets",
        "cell 0 shows an image without alt",
        "cell 1 shows an image without alt text; use display",
        "cell 1 shows image/svg+xml; use image/png",
        "cell 1 shows a widget",
        "cell 1 wrote to stderr",
        "cell 1 ended in ValueError",
        "cell 2 was not run",
    ):
        assert part in faults


def test_pages_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("SSKD_DATASET", "cifar10")  # the tour follows it
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_source(folder, "01_figure", FIGURE)
    write_source(folder, "02_next", '# %% [markdown]\n# # Next\n# <span id="here">the place</span>\n')
    out = tmp_path / "pages"
    assert build.main(["--html", str(out)], folder) == 0
    page = (out / "01_figure.html").read_text(encoding="utf-8")
    assert 'alt="a &quot;red&quot; &amp; small dot"' in page or "alt='a \"red\" &amp; small dot'" in page
    assert "page cifar10" in page  # explorers come as HTML, and the tour follows the data set
    assert "<math" in page
    assert "<mfrac>" in page
    assert "\\frac" not in page
    assert 'href="02_next.html#here"' in page
    assert "colab" not in page.lower()  # its cells are for notebooks
    for remote in ("<script src", 'src="http', "<link", "@import", "cdnjs"):
        assert remote not in page
    assert 'href="01_figure.html"' in (out / "index.html").read_text(encoding="utf-8")
    assert not (folder / "01_figure.ipynb").exists()


def test_answers_stay_folded():
    source = "<details><summary>Answers</summary>\n\nan answer\n\n</details>\n\nafter"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source)])
    page = pages.notebook_article(notebook, build.NOTEBOOKS / "answers.ipynb", {}).html
    assert page.index("<details>") < page.index("an answer") < page.index("</details>") < page.index("after<")


@pytest.mark.parametrize(
    "tex",
    [
        r"\begin{aligned} B_{i,j} &= \frac{\exp(A_{i,j})}{\sum_k \exp(A_{i,k})} \\ a &= b \end{aligned}",
        r"\operatorname*{KL}\left(p^t \,\|\, p^s\right) \tag{1}",
        r"\mathbb{1}[i=j] = \begin{cases} 1 & i = j \\ 0 & \text{otherwise} \end{cases}",
        r"\arg\max_k \lVert \tilde{z}_k \rVert \cdot \lfloor r n \rfloor",
    ],
)
def test_equations_are_drawn(tex):
    assert pages.mathml(tex, "block").startswith("<math")


@pytest.mark.parametrize("tex", [r"K'_{ij}^2", r"K_{ij}'^2"])
def test_a_prime_stands_beside_its_letter(tex):
    """Above the index it would be small, and too high for the root around it."""
    drawn = pages.mathml(rf"\sqrt{{{tex}}} + \text{{the row's sum}}", "inline")
    index = "<mrow><mi>i</mi><mi>j</mi></mrow><mn>2</mn>"
    letter = "<msubsup><mrow><mi>K</mi><mi>&#x02032;</mi></mrow>"
    assert f"<msqrt><mrow>{letter}{index}</msubsup></mrow></msqrt>" in drawn
    assert "row's&#x000A0;sum" in drawn


@pytest.mark.parametrize("tex", [r"p < \unknowncommand", r"p < \frac", r"p < \left("])
def test_an_equation_that_cannot_be_drawn_keeps_its_source(tex):
    assert pages.mathml(tex, "inline") == f"<code>{tex.replace('<', '&lt;')}</code>"
