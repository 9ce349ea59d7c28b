"""Turn an executed notebook, or a Markdown file, into the article of a page of the site.

A template of nbconvert does this: notebooks/site_template/index.html.j2 extends its "base". The kit needs
nbconvert in any case. It keeps the HTML of explorers and MathML as they are, and needs no second program.
MyST would need Node, Quarto a program of its own, and both would draw equations with a script on each page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.ansi import strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).resolve().parent
# What the converter does not know, in words that it knows.
DIALECT = (
    (r"\{aligned}", r"{split}"),
    (r"\\operatorname\*", r"\\operatorname"),
    (r"\\arg\b", r"\\operatorname{arg}"),
    (r"\\tag\{(.*?)\}", r"\\qquad\\text{(\1)}"),
    (r"(\\?[A-Za-z]+)(_\w|_\{[^{}]*\})?'(?![a-z])", r"{\1\\prime}\2"),  # beside its letter, not above
)
STYLES = re.compile(r"<style>(.*?)</style>", re.DOTALL)
# The pictures of an explorer and the program that moves them: see explorer_html in sskd_lib/lab/explorers.
FRAMES = re.compile(r'(<script type="application/json">[^<]*</script>)<script>(.*?)</script>', re.DOTALL)
CARDS = re.compile(r"\.[\w-]+ s \{[^}]*url\(data:[^}]*\}")  # small pictures of an explorer's spots
ASKS = re.compile(r'lab\.(?:predict|recall|exit_ticket|practise)\("[\w-]+"\)')  # a cell that only asks
WRAPPED = 60  # a line of so many characters that ends within a sentence was broken there
MACHINE = re.compile(r"(Python|Device|Images|Pictures|Weights) {2,}")  # what `lab.start` prints
# At the end of the page: the pictures go back into their explorer, then its program runs.
MOVE = "document.getElementById({box}).append(document.currentScript.previousElementSibling);"
FOLDED = re.compile(r'<details class="sskd-question"><summary>.*?</summary>(.*?)</details>', re.DOTALL)
MARKERS = re.compile(r"^\s*# (?:BEGIN|END) SOLUTION\n", re.MULTILINE)
ALIGNED = re.compile(r"\S {2,}\S|^ +\S|^[-─ ]+$")  # a line of a table that was printed


@dataclass(frozen=True, kw_only=True)
class Article:
    """The inner part of a page. sections: id and text of each heading of the second level."""

    title: str
    html: str
    sections: list[tuple[str, str]]
    styles: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)


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


def jupyter_anchor(text: str) -> str:
    """Return the id that JupyterLab gives to a heading."""
    return text.replace(" ", "-")


def github_anchor(text: str) -> str:
    """Return the id that GitHub gives to a heading of a Markdown file."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


class Renderer(IPythonRenderer):
    """nbconvert's Markdown with equations drawn as MathML, and links that stay inside the site.

    file: the source, from which its links start. site: file → name of its page, empty where it has none now.
    anchor: text of a heading → id.
    """

    def __init__(self, file: Path, site: Mapping[Path, str], anchor: Callable[[str], str]) -> None:
        super().__init__(escape=False, embed_images=True, path=str(file.parent), exclude_anchor_links=True)
        self.file, self.site, self.anchor = file, site, anchor
        self.headings: list[tuple[int, str, str]] = []

    def block_html(self, body: str) -> str:
        """Return HTML unchanged: a tag such as <details> may be closed in a later block only."""
        return body

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **attributes: object) -> str:
        plain = html.unescape(re.sub(r"<[^>]*>", "", text))
        mark = self.anchor(plain)
        repeated = sum(known == mark or known.startswith(f"{mark}-") for _, known, _ in self.headings)
        if any(known == mark for _, known, _ in self.headings):
            mark = f"{mark}-{repeated}"
        self.headings.append((level, mark, text))
        return f'<h{level} id="{html.escape(mark)}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link to a page of the site, or to the web; the text alone for other files of the kit."""
        if re.match(r"[a-z]+:|#|$", url):
            return super().link(text, url, title)
        path, _, fragment = url.partition("#")
        target = (self.file.parent / unquote(path)).resolve()
        page = self.site.get(target, "" if target.exists() else url.removesuffix(f"#{fragment}"))
        return super().link(text, f"{page}#{fragment}" if fragment else page, title) if page else text

    def render(self, source: str) -> str:
        """Return Markdown as HTML; a wide table scrolls by itself."""
        body = MarkdownWithMath(renderer=self).render(source)
        body = re.sub(r"</math>(?=[.,;:?!)])", "</math>\u2060", body)  # no line begins with a full stop
        return body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")

    def sections(self) -> list[tuple[str, str]]:
        """Return id and text of the headings of the second level so far."""
        return [(mark, text) for level, mark, text in self.headings if level == 2]


def markdown_article(file: Path, site: Mapping[Path, str]) -> Article:
    """Return a Markdown file of the kit as an article."""
    renderer = Renderer(file, site, github_anchor)
    body = renderer.render(file.read_text(encoding="utf-8"))
    title = next((text for level, _, text in renderer.headings if level == 1), file.stem)
    return Article(title=title, html=body, sections=renderer.sections())


def notebook_article(notebook: NotebookNode, file: Path, site: Mapping[Path, str]) -> Article:
    """Return an executed notebook as an article. file: the notebook's place in the kit."""
    notebook, styles, scripts = prepare(notebook)
    renderer = Renderer(file, site, jupyter_anchor)
    exporter = HTMLExporter(
        template_name="site_template",
        extra_template_basedirs=[str(NOTEBOOKS)],
        filters={"markdown2html": renderer.render, "printed": printed, "split_machine": split_machine},
    )
    body, _ = exporter.from_notebook_node(notebook)
    title = next((text for level, _, text in renderer.headings if level == 1), file.stem)
    return Article(title=title, html=body, sections=renderer.sections(), styles=styles, scripts=scripts)


def prepare(notebook: NotebookNode) -> tuple[NotebookNode, list[str], list[str]]:
    """Return a copy for the template, the style sheets of its outputs, and their heavy scripts.

    Code cells get `metadata.site`: answer, whether the outputs answer a prediction; solution, whether the
    code solves an exercise; machine, whether it starts the notebook; asks, whether it only asks; and the
    number of lines.
    """
    notebook = NotebookNode(notebook | {"cells": [NotebookNode(cell) for cell in notebook.cells]})
    styles: dict[str, None] = {}
    scripts: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.source = MARKERS.sub("", cell.source + "\n").rstrip("\n")
        answer = re.search(r"\breveal\(", cell.source) is not None
        tags = cell.metadata.get("tags", [])
        cell.metadata = NotebookNode(
            cell.metadata
            | {
                "site": {
                    "answer": answer,
                    "solution": "exercise" in tags,
                    "machine": "lab.start(" in cell.source,
                    "asks": ASKS.fullmatch(cell.source) is not None,
                    "lines": len(cell.source.splitlines()),
                }
            }
        )
        cell.outputs = [_lighter(output, answer, styles, scripts) for output in cell.outputs]
    return notebook, list(styles), scripts


def _lighter(output: NotebookNode, answer: bool, styles: dict[str, None], scripts: list[str]) -> NotebookNode:
    """Return an output without style sheets and frames, which are kept apart; an answer is folded once."""
    body = output.get("data", {}).get("text/html")
    if body is None:
        return output
    for sheet in STYLES.findall(body):
        styles[CARDS.sub("", sheet)] = None
        scripts += (f"<style>{cards}</style>" for cards in CARDS.findall(sheet))
    for data, code in FRAMES.findall(body):
        box = re.search(r'getElementById\(("[^"]*")\)', code)
        if box:
            scripts.append(f"{data}<script>{MOVE.format(box=box[1])}{code}</script>")
            body = body.replace(f"{data}<script>{code}</script>", "")
    body = STYLES.sub("", body)
    if answer:
        body = FOLDED.sub(r'<div class="sskd-question">\1</div>', body)
    return NotebookNode(output | {"data": output.data | {"text/html": body}})


def printed(text: str) -> str:
    """Return printed lines as HTML: tables keep their columns, sentences are set like a caption."""
    groups = [(kind, "\n".join(lines)) for kind, lines in _groups(strip_ansi(text))]
    shapes = {True: '<pre class="printed">{}</pre>', False: '<p class="printed">{}</p>'}
    return "".join(shapes[kind].format(html.escape(lines, quote=False)) for kind, lines in groups)


def _unwrapped(lines: list[str]) -> list[str]:
    """Return the lines with those joined that were one line before it was broken at a width."""
    joined: list[str] = []
    last = ""  # the line before
    for line in lines:
        if joined and len(last) >= WRAPPED and last.rstrip()[-1] not in ".:;?!":
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
        last = line
    return joined


def split_machine(text: str) -> tuple[str, str]:
    """Return the lines about the machine that begin what a first cell printed, and the rest."""
    lines = text.splitlines(keepends=True)
    count = next((i for i, line in enumerate(lines) if not MACHINE.match(line)), len(lines))
    return "".join(lines[:count]), "".join(lines[count:])


def _groups(text: str) -> list[tuple[bool, list[str]]]:
    """Return blocks of lines, each with whether it is a table; an empty line ends a block of sentences."""
    groups: list[tuple[bool, list[str]]] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        table = len(lines) > 1 and any(ALIGNED.search(line) for line in lines)
        if table:
            groups.append((True, lines))
        else:
            groups += ((False, [sentences]) for sentences in _unwrapped(lines))
    return groups
