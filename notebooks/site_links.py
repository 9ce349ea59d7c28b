"""Check the links of the site's pages: each leads to a page and a place that are there."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

OUTSIDE = {"http", "https", "mailto"}  # not followed: the check needs no network
LOADING = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Links(HTMLParser):
    """The ids of a page, where its links lead to, and what it loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.repeated: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                (self.repeated.append if value in self.ids else self.ids.add)(value)
            elif (tag, name) in LOADING:
                self.loaded.append(value or "")
            elif tag == "a" and name == "href":
                self.targets.append(value or "")


def find_broken(folder: Path, names: Iterable[str]) -> list[str]:
    """Return what is wrong with the links of these pages in `folder`, one sentence each."""
    pages = {name: Links((folder / name).read_text(encoding="utf-8")) for name in names}
    faults = []
    for name, links in pages.items():
        faults += [f"{name}: the id {mark!r} occurs twice" for mark in links.repeated]
        faults += [
            f"{name}: loads {source!r}; a page must hold all that it shows"
            for source in links.loaded
            if not source.startswith("data:")
        ]
        faults += filter(None, (_fault(folder, name, target, pages) for target in links.targets))
    return faults


def _fault(folder: Path, name: str, target: str, pages: dict[str, Links]) -> str:
    """Return what is wrong with one link, or an empty text."""
    parts = urlsplit(target)
    if parts.scheme in OUTSIDE:
        return "" if parts.netloc or parts.scheme == "mailto" else f"{name}: {target!r} is no address"
    page = unquote(parts.path) or name
    if parts.scheme or not (folder / page).is_file():
        return f"{name}: the link {target!r} leads to no page of the site"
    mark = unquote(parts.fragment)
    if mark and page in pages and mark not in pages[page].ids:
        return f"{name}: the link {target!r} leads to a page without this place"
    return ""
