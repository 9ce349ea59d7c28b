"""How quickly explorers answer: one frame of each, and pictures a second while a slider is dragged.

    python benchmarks/explorers.py              # milliseconds a frame of each explorer
    python benchmarks/explorers.py --drag       # a drag in a real JupyterLab, in a plain Chromium

A test (tests/lab/test_redraws.py) counts what a move may cost: no network, no full redraw. This program only
prints times. The drag needs Chromium and the test extra.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any

import websocket

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]  # the small explorers are those of the tests

from helpers.browser import CHROMIUM, Laboratory, notebook_of  # noqa: E402
from helpers.every_explorer import MAKERS  # noqa: E402
from helpers.explorers import temperature_explorer  # noqa: E402

CELLS = (
    f"import sys\nsys.path[:0] = {[str(ROOT / 'tests'), str(ROOT)]}\n"
    "from helpers.explorers import temperature_explorer",
    "temperature = temperature_explorer()",
)
MOVES = 201  # of the mouse in one drag, to and fro, each to another value; it ends at the right
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


def frame_times(name: str) -> list[float]:
    """Milliseconds of each frame of an explorer, its first control moved through all options twice."""
    with redirect_stdout(io.StringIO()):  # the words of its still pictures
        explorer = MAKERS[name]()
    control = next(iter(explorer.controls))
    explorer.frame()
    times = []
    for _, value in explorer.controls[control].options * 2:
        start = time.perf_counter()
        explorer.frame(**{control: value})
        times.append(1000 * (time.perf_counter() - start))
    return times


class Tab:
    """A tab of Chromium that takes two things only: scripts to evaluate and where the mouse is.

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
        if "error" in answer:
            raise RuntimeError(f"{method} failed in Chromium: {answer['error']}")
        return answer["result"]

    def evaluate(self, script: str) -> Any:
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"a script failed in Chromium: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {condition}")
            time.sleep(0.1)

    def mouse(self, kind: str, x: float, y: float) -> None:
        pressed = (
            {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseMoved" else {"buttons": 1}
        )
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)


@contextmanager
def open_notebook(laboratory: Laboratory) -> Iterator[Tab]:
    """A notebook with an explorer, opened and run in a Chromium of its own."""
    if not CHROMIUM:
        raise SystemExit("Chromium is missing. Install it, for example: apt-get install chromium")
    home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    flags = ["--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-port=0"]
    command = [CHROMIUM, *flags, f"--user-data-dir={home.name}", "--window-size=1440,1000", "about:blank"]
    chromium = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        socket = websocket.create_connection(first_page(Path(home.name)), suppress_origin=True, timeout=300)
        with closing(socket):
            yield run_notebook(Tab(socket), laboratory.add("speed", notebook_of(CELLS)))
    finally:
        chromium.terminate()
        chromium.wait(30)
        home.cleanup()


def run_notebook(tab: Tab, address: str) -> Tab:
    """Open the notebook at this address, run its cells and wait for the explorer."""
    tab.send("Emulation.setFocusEmulationEnabled", enabled=True)  # without, JupyterLab waits to be looked at
    tab.send("Page.bringToFront")
    tab.send("Page.navigate", url=address)
    tab.wait_for(f"Boolean(window.jupyterapp) && {KERNEL}?.status === 'idle'")
    tab.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")
    tab.wait_for("document.querySelectorAll('.widget-image, .noUi-base').length === 2")
    return tab


def first_page(home: Path) -> str:
    """The address at which Chromium's one tab takes commands."""
    opener, port = urllib.request.build_opener(urllib.request.ProxyHandler({})), home / "DevToolsActivePort"
    for _ in range(600):
        try:
            with opener.open(f"http://127.0.0.1:{port.read_text().split()[0]}/json", timeout=5) as answer:
                return next(t for t in json.load(answer) if t["type"] == "page")["webSocketDebuggerUrl"]
        except (OSError, IndexError, StopIteration):
            time.sleep(0.1)
    raise TimeoutError("Chromium did not answer within 60 s.")


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
    moved, waits, painted = {}, [], None
    for kind, what, now in seen:
        if kind == "value":
            moved[what] = now
        elif drawn[what] != painted:  # a picture that the explorer does not draw would be a KeyError
            painted = drawn[what]
            waits.append(now - moved[painted])
    return len(waits) / seconds, statistics.quantiles(waits, n=20)[-1]


def print_drags(count: int) -> None:
    """Print pictures a second, and how late they come, of so many drags."""
    with redirect_stdout(io.StringIO()):
        explorer = temperature_explorer()
    options = explorer.controls["temperature"].options
    drawn = {sha256(explorer.frame(temperature=value)).hexdigest(): text for text, value in options}
    laboratory = Laboratory()
    try:
        with open_notebook(laboratory) as tab:
            tab.evaluate(WATCH)
            for number in range(1, count + 1):
                rate, late = timed(tab, drawn, options[-1][0])
                print(f"drag {number}: {rate:.0f} pictures a second, 95 % within {late:.0f} ms of the move")
    finally:
        laboratory.close()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drag", action="store_true", help="drag a slider in a real JupyterLab")
    parser.add_argument("--drags", type=int, default=3, help="how often")
    options = parser.parse_args()
    os.environ["SSKD_STATIC"] = "1"  # in this process; the kernel of JupyterLab has its own variables
    if options.drag:
        print_drags(options.drags)
        return
    for name in MAKERS:
        times = frame_times(name)
        print(f"{name:22} {statistics.median(times):6.1f} ms a frame (median of {len(times)})")


if __name__ == "__main__":
    main()
