"""Reads the page of an explorer."""

from __future__ import annotations

from html.parser import HTMLParser


class Reader(HTMLParser):
    """The JSON of an explorer, its start picture and the labels of its controls."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.data, self._open = "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))
        self._open = tag if dict(attributes).get("type") == "application/json" else ""

    def handle_data(self, text: str) -> None:
        if self._open:
            self.data += text
