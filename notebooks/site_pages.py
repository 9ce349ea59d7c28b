"""Write the site: a page for each notebook that was run, for documents of the course, and the first page.

The articles come from pages.py, the frame around them from notebooks/site_template/layout.html.j2. Every page
is one file that loads nothing. It forbids the browser any request, and opens from a disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from nbformat import NotebookNode

from kernels import Result
from pages import NOTEBOOKS, Article, Renderer, github_anchor, markdown_article, notebook_article
from site_course import Chapter, read_chapters
from site_landing import idea_picture, runs_table, temperature_context
from site_links import find_broken
from sskd_lib.files import write_atomically

FIRST, TITLE = "index.html", "SSKD, a course"
MAX_FIRST = 3_000_000  # bytes of the first page
DOCUMENTS = ("by_hand.md", "results.md", "paper.md", "teaching.md", "teaching/*.md")


def find_documents(kit: Path) -> dict[Path, str]:
    """Return the documents of the course with the names of their pages, such as teaching-01.html."""
    folder = kit / "docs"
    files = [file for pattern in DOCUMENTS for file in sorted(folder.glob(pattern))]
    return {file.resolve(): "-".join(file.relative_to(folder).with_suffix(".html").parts) for file in files}


def document_title(file: Path) -> str:
    """Return the first heading of a Markdown file, or its name."""
    heading = re.search(r"^# (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return heading[1] if heading else file.stem


def environment(site: Mapping[Path, str], kit: Path) -> jinja2.Environment:
    """Return the templates, with a filter `inline` for one paragraph of Markdown."""

    def inline(text: str) -> str:
        renderer = Renderer(kit / "notebooks" / "source.md", site, github_anchor)
        return renderer.render(text).strip().removeprefix("<p>").removesuffix("</p>")

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(NOTEBOOKS / "site_template"), undefined=jinja2.StrictUndefined
    )
    templates.filters["inline"] = inline
    return templates


class Step(NamedTuple):
    """A page in the order of reading."""

    page: str
    name: str


class Frame:
    """The frame of every page: the list of notebooks, and which of them have a page in `folder`."""

    def __init__(self, folder: Path, kit: Path, chapters: Sequence[Chapter], done: Iterable[str]) -> None:
        self.folder, self.chapters = folder, chapters
        self.pages = {c.page for c in chapters if c.source.stem in set(done)}
        self.documents = find_documents(kit)
        self.site = {c.notebook.resolve(): c.page if c.page in self.pages else "" for c in chapters}
        self.site |= self.documents | {(kit / "README.md").resolve(): FIRST}
        self.titles = {name: document_title(file) for file, name in self.documents.items()}
        steps = [Step(FIRST, TITLE), *(Step(c.page, c.name) for c in chapters if c.page in self.pages)]
        self.steps = [*steps, *(Step(name, title) for name, title in self.titles.items())]
        self.templates = environment(self.site, kit)

    def write(self, name: str, article: Article, kind: str, minutes: int | None = None) -> int:
        """Write a page around an article; return its bytes. kind: notebook, document or landing."""
        place = [step.page for step in self.steps].index(name)
        page = self.templates.get_template("layout.html.j2").render(
            title=re.sub(r"<[^>]*>", "", article.title),
            body=article.html,
            sections=article.sections,
            styles=article.styles,
            scripts=article.scripts,
            kind=kind,
            current=name,
            chapters=self.chapters,
            pages=self.pages,
            minutes=minutes,
            previous=self.steps[place - 1] if place else None,
            next=self.steps[place + 1] if place + 1 < len(self.steps) else None,
        )
        write_atomically(self.folder / name, page.encode())
        return len(page.encode())


def write_site(
    folder: Path, sources: Sequence[Path], notebooks: Mapping[str, NotebookNode], results: Sequence[Result]
) -> dict[str, int]:
    """Write all pages into `folder`, and return their names with their bytes.

    sources: of all notebooks of the course; notebooks: those that were run now, by the stem of their source.
    A notebook that was not run now keeps its page of an earlier time. Each result gets the size of its page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kit = sources[0].resolve().parents[2]
    chapters = read_chapters(sources)
    failed = {result.name for result in results if result.failure}
    earlier = {c.source.stem for c in chapters if (folder / c.page).is_file()} - failed
    frame = Frame(folder, kit, chapters, earlier | set(notebooks))
    sizes = dict.fromkeys(sorted(frame.pages), 0)
    by_stem = {c.source.stem: c for c in chapters}
    for stem, notebook in notebooks.items():
        chapter = by_stem[stem]
        article = notebook_article(notebook, chapter.notebook, frame.site)
        sizes[chapter.page] = frame.write(chapter.page, article, "notebook", chapter.minutes)
    for file, name in frame.documents.items():
        sizes[name] = frame.write(name, markdown_article(file, frame.site), "document")
    sizes[FIRST] = frame.write(FIRST, landing(frame, kit, results), "landing")
    for result in results:
        result.size = sizes.get(f"{result.name}.html", 0)
    return sizes


def landing(frame: Frame, kit: Path, results: Sequence[Result]) -> Article:
    """Return the first page's article."""
    titles = [(name, title) for name, title in frame.titles.items() if not name.startswith("teaching-")]
    minutes = sum(chapter.minutes or 0 for chapter in frame.chapters)
    context: dict[str, Any] = temperature_context() | {
        "chapters": frame.chapters,
        "pages": frame.pages,
        "documents": titles,
        "minutes_together": minutes,
        "hours": f"{minutes / 60:.0f}",
        "idea": idea_picture(kit),
        "runs": runs_table(results, {c.source.stem: c.name for c in frame.chapters}),
    }
    body = frame.templates.get_template("landing.html.j2").render(context)
    return Article(title=TITLE, html=body, sections=[])


def find_site_faults(folder: Path, sizes: Mapping[str, int]) -> list[str]:
    """Return what keeps the site from being published, one sentence each."""
    faults = find_broken(folder, sizes)
    if sizes[FIRST] > MAX_FIRST:
        faults.append(f"{FIRST}: {sizes[FIRST]} bytes, more than {MAX_FIRST}: use fewer or smaller images")
    return faults
