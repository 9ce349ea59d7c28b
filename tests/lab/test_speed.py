"""How fast a dragged slider brings pictures: in a real JupyterLab, in a Chromium without instruments."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import websocket
from browser import CHROMIUM, ROOT, browser_needed, laboratory, notebook_of
from test_lab_explorers import temperature_explorer

pytestmark = browser_needed
CELLS = (
    f"import sys\nsys.path[:0] = {[str(ROOT / 'tests'), str(ROOT)]}\n"
    "from test_lab_explorers import temperature_explorer",
    "temperature = temperature_explorer()",
)
MOVES = 201  # of the mouse in one drag, to and fro, each to another value; it ends at the right
DRAGS = 3  # the best one counts: other work on the machine can only slow them down
# What a person sees: the readout of the slider as it is dragged, and each picture as it is painted. Blobs are
# kept, because a picture's address is taken back when the next one comes.
WATCH = """(() => {
  const readout = document.querySelector(".widget-readout"), image = document.querySelector(".widget-image");
  const make = URL.createObjectURL;
  window.blobs = {};
  window.seen = [];
  URL.createObjectURL = (blob) => { const url = make.call(URL, blob); blobs[url] = blob; return url; };
  new MutationObserver(() => seen.push(["value", readout.textContent, performance.now()]))
    .observe(readout, {childList: true, characterData: true, subtree: true});
  image.addEventListener("load", () => requestAnimationFrame(
    () => seen.push(["picture", image.src, performance.now()])));
})()"""
SEEN = """(async () => {
  const names = {}, found = seen;
  for (const [url, blob] of Object.entries(blobs)) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
    names[url] = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  window.seen = [];
  return found.map(([kind, what, time]) => [kind, names[what] || what, time]);
})()"""
KERNEL = "jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel"
PLACES = """(() => {
  document.querySelector(".noUi-base").scrollIntoView({block: "center"});
  return [".noUi-base", ".noUi-handle"].map((part) => {
    const place = document.querySelector(part).getBoundingClientRect();
    return [place.x, place.y, place.width, place.height];
  });
})()"""


class Tab:
    """A tab of Chromium that is told two things only: scripts to evaluate and where the mouse is.

    Playwright has the browser report every message of the page, pictures included, and so slows what is to be
    timed here.
    """

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.socket, self.numbers = socket, itertools.count(1)

    def send(self, method: str, **parameters: Any) -> dict:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, script: str) -> Any:
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.1)

    def mouse(self, kind: str, x: float, y: float) -> None:
        held = {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseMoved" else {"buttons": 1}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)


@pytest.fixture
def tab(request: pytest.FixtureRequest) -> Iterator[Tab]:
    """A notebook with an explorer, opened and run."""
    assert CHROMIUM, "Chromium is missing; .ci/run installs it."
    home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    flags = ["--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-port=0"]
    command = [CHROMIUM, *flags, f"--user-data-dir={home.name}", "--window-size=1440,1000", "about:blank"]
    chromium = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        socket = websocket.create_connection(first_page(Path(home.name)), suppress_origin=True, timeout=60)
        with closing(socket):
            yield run_notebook(Tab(socket), laboratory(request.config).add("speed", notebook_of(CELLS)))
    finally:
        chromium.terminate()
        chromium.wait(30)
        home.cleanup()


def run_notebook(tab: Tab, address: str) -> Tab:
    tab.send("Emulation.setFocusEmulationEnabled", enabled=True)  # without, JupyterLab waits to be looked at
    tab.send("Page.bringToFront")
    tab.send("Page.navigate", url=address)
    tab.wait_for(f"Boolean(window.jupyterapp) && {KERNEL}?.status === 'idle'")
    tab.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")
    tab.wait_for("document.querySelectorAll('.widget-image, .noUi-base').length === 2")
    return tab


def first_page(home: Path) -> str:
    """The address at which Chromium's one tab is told what to do."""
    opener, port = urllib.request.build_opener(urllib.request.ProxyHandler({})), home / "DevToolsActivePort"
    for _ in range(300):
        try:
            with opener.open(f"http://127.0.0.1:{port.read_text().split()[0]}/json", timeout=5) as answer:
                return next(t for t in json.load(answer) if t["type"] == "page")["webSocketDebuggerUrl"]
        except (OSError, IndexError, StopIteration):
            time.sleep(0.1)
    pytest.fail("Chromium did not answer within 30 s.")


def drag(tab: Tab) -> float:
    """Take the handle to and fro, as fast as the browser takes it: seconds."""
    (left, top, wide, high), handle = tab.evaluate(PLACES)
    tab.mouse("mouseMoved", handle[0] + handle[2] / 2, handle[1] + handle[3] / 2)
    tab.mouse("mousePressed", handle[0] + handle[2] / 2, handle[1] + handle[3] / 2)
    start = time.perf_counter()
    for step in range(MOVES):
        tab.mouse("mouseMoved", left + wide * abs(step % 40 - 20) / 20, top + high / 2)
    seconds = time.perf_counter() - start
    tab.mouse("mouseReleased", left + wide, top + high / 2)
    return seconds


def timed(tab: Tab, drawn: dict[str, str], last: str) -> tuple[float, float]:
    """(pictures a second, milliseconds within which 95 % of them came) of one drag."""
    seconds = drag(tab)
    seen: list = []
    while not seen or drawn.get(seen[-1][1]) != last:  # the picture of the last value comes after the mouse
        time.sleep(0.2)
        seen += tab.evaluate(SEEN)
        assert len(seen) < 100 * MOVES, "the last value's picture never came"
    moved, waits, painted = {}, [], None
    for kind, what, now in seen:
        if kind == "value":
            moved[what] = now
        elif drawn[what] != painted:  # a picture that we have not drawn would be a KeyError
            painted = drawn[what]
            waits.append(now - moved[painted])
    return len(waits) / seconds, statistics.quantiles(waits, n=20)[-1]


def test_a_dragged_slider_keeps_up(tab, capsys) -> None:
    explorer = temperature_explorer()
    options = explorer.controls["temperature"].options
    drawn = {sha256(explorer.frame(temperature=value)).hexdigest(): text for text, value in options}
    tab.evaluate(WATCH)
    drags = [timed(tab, drawn, options[-1][0]) for _ in range(DRAGS)]
    with capsys.disabled():
        told = ", ".join(f"{rate:.0f} (95 % within {late:.0f} ms)" for rate, late in drags)
        print(f"\nPictures a second while a slider is dragged, {DRAGS} times: {told}")
    rate, late = max(drags)
    assert rate >= 12 and late <= 250
