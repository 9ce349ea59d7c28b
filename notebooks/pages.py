"""Turn executed notebooks into HTML pages that need no network; only explorers have a script of their own."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

# nbconvert's page with the blocks emptied that would load scripts from elsewhere.
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block extra_css %}<style>
main { max-width: 64rem; margin: 0 auto; } img { max-width: 100%; height: auto; }
.highlight pre, .jp-OutputArea-output pre { white-space: pre-wrap; overflow-wrap: anywhere; }
math { font-family: "Latin Modern Math", "STIX Two Math", "Cambria Math", "DejaVu Math TeX Gyre", math; }
math[display=block] { margin: 1em 0; font-size: 1.15em; }
mtd[columnalign=left] { text-align: left; } mtd[columnalign=right] { text-align: right; }
</style>{% endblock %}
{% block data_png %}{% set width = output | get_metadata('width', 'image/png') %}
<div class="jp-RenderedImage jp-OutputArea-output">
<img alt="{{ output | get_metadata('alt', 'image/png') | escape_html_keep_quotes | replace('"', '&quot;') }}"
 src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}"
{% if width %}width="{{ width | escape_html }}"{% endif %}></div>
{% endblock %}"""

# What the converter does not know, in words that it knows.
DIALECT = (
    (r"\{aligned}", r"{split}"),
    (r"\\operatorname\*", r"\\operatorname"),
    (r"\\arg\b", r"\\operatorname{arg}"),
    (r"\\tag\{(.*?)\}", r"\\qquad\\text{(\1)}"),
    (r"(\\?[A-Za-z]+)(_\w|_\{[^{}]*\})?'(?![a-z])", r"{\1\\prime}\2"),  # beside its letter, not above
)

INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The notebooks, run from start to end</title><style>
body {{ font: 1rem/1.5 sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }}
td, th {{ padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ccc; }}
td:first-child, th:first-child {{ text-align: left; }} table {{ border-collapse: collapse; }}
</style></head><body><h1>The notebooks, run from start to end</h1>
<p>Each was run in a fresh kernel. Memory is the kernel's highest.</p>
<table><tr><th>Notebook</th><th>Seconds</th><th>Peak memory</th></tr>
{rows}
</table></body></html>
"""


def mathml(tex: str, display: str) -> str:
    """Return the equation as MathML, which browsers draw by themselves, or its TeX where that fails."""
    source = tex
    for pattern, replacement in DIALECT:
        source = re.sub(pattern, replacement, source)
    try:
        drawn = convert(source, display=display)
    except Exception:  # the converter raises many kinds of error; the reader still gets the source
        drawn = "\\"
    unknown = "\\" in drawn or "&amp;" in drawn  # a command that it passed on, an & outside a table
    return f"<code>{html.escape(tex)}</code>" if unknown else drawn


class Renderer(IPythonRenderer):
    """nbconvert's Markdown with equations drawn as MathML."""

    def block_html(self, body: str) -> str:
        """As it stands: a tag such as <details> may be closed in a later block, and must not be before."""
        return body

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


def notebook_page(notebook: NotebookNode, title: str, folder: Path) -> str:
    """Return the executed notebook as one HTML page; images come from `folder` and from the outputs."""

    def markdown(source: str) -> str:
        renderer = Renderer(escape=False, embed_images=True, path=str(folder), exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)

    exporter = HTMLExporter(raw_template=TEMPLATE, language_code="en", filters={"markdown2html": markdown})
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return re.sub(r'href="(\d\d_\w+)\.ipynb([#"])', r'href="\1.html\2', page)


def index_page(rows: Sequence[tuple[str, float, float, str]]) -> str:
    """Return the page that lists name, seconds, peak memory in MB and, where it has one, the failure."""
    lines = []
    for name, seconds, peak, failure in rows:
        if failure:
            lines.append(f'<tr><td>{name}</td><td colspan="2">failed: {html.escape(failure)}</td></tr>')
        else:
            link = f'<a href="{name}.html">{name}</a>'
            memory = "not measured" if peak != peak else f"{peak:.0f} MB"
            lines.append(f"<tr><td>{link}</td><td>{seconds:.1f}</td><td>{memory}</td></tr>")
    return INDEX.format(rows="\n".join(lines))
