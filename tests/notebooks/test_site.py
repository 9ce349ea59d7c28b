"""The site: what its pages hold, in which order, and that no link is broken. See also test_site_browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import build
import site_pages
from helpers.site import ALT, NUMBER, cells_of, write_kit, write_site
from pages import jupyter_anchor, notebook_article, printed
from site_course import read_chapters
from site_landing import temperature_data
from site_links import find_broken
from sskd_lib.losses import soften

CSS = (build.NOTEBOOKS / "site_template" / "site.css").read_text(encoding="utf-8")


class Folds(HTMLParser):
    """Texts and alternative texts of a page, each with the summaries of the folds around it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[tuple[str, tuple[str, ...]]] = []
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self._summary = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "details":
            self._open.append("")
        self._summary = self._summary or tag == "summary"
        if tag == "img":
            self.parts.append((dict(attributes).get("alt") or "", tuple(self._open)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "details":
            self._open.pop()
        self._summary = self._summary and tag != "summary"

    def handle_data(self, text: str) -> None:
        if self._summary:
            self._open[-1] += text.strip()
        else:
            self.parts.append((text, tuple(self._open)))

    def around(self, words: str) -> list[tuple[str, ...]]:
        """Return the folds around each place that has these words."""
        return [folds for text, folds in self.parts if words in text]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kit(tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def site(kit: Path) -> Path:
    out = kit / "site"
    sizes = write_site(kit, out)
    assert site_pages.find_site_faults(out, sizes) == []
    assert {name: (out / name).stat().st_size for name in sizes} == sizes
    return out


def read(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


# ---- the course ----------------------------------------------------------------------------------


def test_chapters_say_title_minutes_and_opening(kit):
    first, second = read_chapters(build.find_sources(folder=kit / "notebooks"))
    assert (first.name, first.minutes) == ("01 · A first idea", 25)  # data/course says it, not the text
    assert (second.name, second.minutes) == ("02 · A second idea & more", 20)
    assert first.opening == "Two images with **one** label."
    assert second.opening == "Say what a *second* idea is."


def test_every_notebook_of_the_kit_has_a_title_and_minutes():
    for chapter in read_chapters(build.find_sources()):
        assert chapter.title != chapter.source.stem and chapter.minutes, chapter.source.name


def test_first_page_has_titles_minutes_and_documents(site):
    page = read(site, "index.html")
    for part in ('<a href="01_first.html">01 · A first idea</a>', "25 min", "20 min", "<strong>one</strong>"):
        assert part in page
    assert '<a href="results.html">What was measured</a>' in page
    assert "01_first</a>" not in page and "02 · A second idea &amp; more</a>" in page


def test_explorer_data_are_two_images_of_one_label_that_the_teacher_answers_differently():
    data = temperature_data()
    one, other = data["answers"]
    assert one["names"][0] == other["names"][0] == data["label"]
    assert one["names"][1] != other["names"][1]
    for answer in data["answers"]:
        assert answer["logits"] == sorted(answer["logits"], reverse=True) and len(set(answer["names"])) == 10
    p = soften(torch.tensor([one["logits"]]), 1.0)[0]
    assert p.sum() == pytest.approx(1) and 0.05 < p[1] < 0.3


# ---- a page --------------------------------------------------------------------------------------


def test_nothing_outside_its_fold_gives_an_answer_away(site):
    page = Folds(read(site, "01_first.html"))
    for answer in (ALT, NUMBER, "because it was measured"):
        assert page.around(answer) and set(page.around(answer)) == {("The answer",)}, answer
    assert page.around("Which one is it?") == [()]


def test_code_is_folded_and_says_how_long_it_is(site):
    page = Folds(read(site, "01_first.html"))
    assert set(page.around("scale")) == {("Code5 lines",)}
    (solution,) = set(page.around("logits"))
    assert solution == ("A solution2 lines",)
    assert "BEGIN SOLUTION" not in read(site, "01_first.html")
    _, *folds = [attributes for tag, attributes in page.tags if tag == "details"]
    assert [fold.get("class") for fold in folds if "open" in fold] == [None]  # the contents alone


def test_text_comes_before_heavy_data(site):
    page = read(site, "01_first.html")
    frames = page.index('"frames": [')
    assert page.index("</main>") < page.index("</footer>") < frames
    assert len(page) - frames > 0.8 * len(page)


def test_printed_tables_keep_their_columns_and_sentences_their_flow():
    html = printed("kd     74.2\nsskd   76.1\n\nA sentence, 5 < 6.\nAnother one.\n")
    assert html == (
        '<pre class="printed">kd     74.2\nsskd   76.1</pre>'
        '<p class="printed">A sentence, 5 &lt; 6.</p><p class="printed">Another one.</p>'
    )
    long = "With the diagnosis of a wrong temperature, the loss at the first step is too small, and"
    assert printed(f"{long}\nthe weights move less.\nThe end\n") == (
        f'<p class="printed">{long} the weights move less.</p><p class="printed">The end</p>'
    )


def test_each_page_has_landmarks_a_language_and_headings_in_order(site):
    for file in site.glob("*.html"):
        page = Folds(file.read_text(encoding="utf-8"))
        tags = [tag for tag, _ in page.tags]
        assert ("html", {"lang": "en"}) in page.tags
        assert [tags.count(name) for name in ("header", "main", "footer", "h1")] == [1, 1, 1, 1], file.name
        assert next(attributes["href"] for tag, attributes in page.tags if tag == "a") == "#text"
        steps = zip([0, *page.headings], page.headings, strict=False)
        assert all(below - above <= 1 for above, below in steps), (file.name, page.headings)
        assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "nav")
        assert all("alt" in attributes for tag, attributes in page.tags if tag == "img")


def test_navigation_marks_the_page_and_leads_on(site):
    page = read(site, "01_first.html")
    assert '<a href="01_first.html" aria-current="page">' in page
    assert '<a rel="prev" href="index.html">' in page and '<a rel="next" href="02_second.html">' in page
    assert 'href="#1-%C2%B7-A-section%2C-with-%CF%84"' in page  # as JupyterLab names it
    assert 'rel="prev"' not in read(site, "index.html")


# ---- links ---------------------------------------------------------------------------------------


def test_links_stay_in_the_site_or_become_text(site):
    page = read(site, "results.html")
    assert 'href="01_first.html#1-%C2%B7-A-section,-with-%CF%84"' in page
    assert "a program" in page and "program.py" not in page  # a file of the kit without a page


def test_broken_links_are_named(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html">ok</a><a href="b.html#here">ok</a><a href="b.html#there">bad</a>'
        '<a href="c.html">bad</a>'
        '<a href="#nowhere">bad</a><a href="https://example.org/x">ok</a><a href="https:">bad</a>'
        '<a href="file:///x">bad</a><img src="x.png"><img src="data:image/png;base64,"><p id="x"><p id="x">'
    )
    (tmp_path / "b.html").write_text('<p id="here">')
    faults = find_broken(tmp_path, ["a.html", "b.html"])
    for part in ("b.html#there", "c.html", "#nowhere", "'https:'", "file:///x", "'x.png'", "id 'x'"):
        assert sum(part in fault for fault in faults) == 1, part
    assert len(faults) == 7 and all(fault.startswith("a.html: ") for fault in faults)


def test_a_broken_link_or_a_heavy_first_page_fails_the_build(kit, site, monkeypatch, capsys):
    out = kit / "broken"
    source = kit / "notebooks" / "source" / "03_broken.py"
    source.write_text("# %% [markdown]\n# # 03 · Broken\n# [a link](04_nothing.ipynb)\n", encoding="utf-8")
    try:
        assert build.main(["--html", str(out), "03"], kit / "notebooks") == 1
    finally:
        source.unlink()
    assert "03_broken.html: the link '04_nothing.ipynb' leads to no page" in capsys.readouterr().err
    monkeypatch.setattr(site_pages, "MAX_FIRST", 1000)
    assert "more than 1000" in site_pages.find_site_faults(site, {"index.html": 2000})[0]


def test_a_part_of_the_course_makes_a_whole_site(kit):
    out = kit / "part"
    sizes = write_site(kit, out, "02_second")
    assert site_pages.find_site_faults(out, sizes) == []
    assert not (out / "01_first.html").exists() and "<h3>01 · A first idea</h3>" in read(out, "index.html")
    sizes = write_site(kit, out, "01_first")  # and now the other one: it links to the earlier page
    assert site_pages.find_site_faults(out, sizes) == []
    assert '<a rel="next" href="02_second.html">' in read(out, "01_first.html")
    sizes = write_site(kit, out, "01_first", "02_second", failed="01_first")
    assert "01_first.html" not in sizes and "failed: cell 2 raised" in read(out, "index.html")


# ---- colours -------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_texts_are_read_in_every_theme():
    rules = re.findall(r"{([^{}]*--paper: [^{}]*)}", CSS)
    light, by_system, by_button, printed_page = (
        dict(re.findall(r"--(\w+): (#\w{6})", rule)) for rule in rules
    )
    assert by_system == by_button != light
    for theme in (light, by_button, light | printed_page):
        for text in ("ink", "quiet", "accent", "string", "comment"):
            for ground in ("paper", "shade"):
                one, other = sorted((luminance(theme[text]), luminance(theme[ground])))
                assert (other + 0.05) / (one + 0.05) >= 4.5, (text, ground, theme)


def test_the_anchor_is_that_of_jupyterlab():
    assert jupyter_anchor("3 · The gradient, and why τ²") == "3-·-The-gradient,-and-why-τ²"


def test_the_pictures_of_an_explorer_wait_for_the_end_of_the_page(kit):
    notebook = cells_of(kit, "01_first")
    article = notebook_article(notebook, kit / "notebooks" / "01_first.ipynb", {})
    assert len(article.scripts) == 1 and "sskd-temperature" in article.scripts[0]
    assert '"frames"' not in article.html
