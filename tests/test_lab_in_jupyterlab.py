"""Explorers in a real JupyterLab: run, dragged by mouse and keys, and run again, in a real browser."""

from __future__ import annotations

import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from test_lab_explorers import picture, selection_explorer, temperature_explorer
from test_lab_pages import CHROMIUM, browser_needed

pytestmark = browser_needed
TESTS = Path(__file__).parent
PLACES = 181  # of the mouse in one drag, to and fro; it ends at the right
CELLS = (
    f"import sys\nsys.path[:0] = {[str(TESTS), str(TESTS.parent)]}\n"
    "from test_lab_explorers import selection_explorer, temperature_explorer",
    "temperature = temperature_explorer()",
    "selection = selection_explorer()",
)
# What a person sees: the readout of the slider as it is dragged, and each picture as it is painted. Blobs are
# kept, because a picture's address is taken back when the next one comes.
WATCH = """(cell) => {
  const readout = cell.querySelector(".widget-readout"), image = cell.querySelector("img");
  const make = URL.createObjectURL, blobs = window.blobs = {}, seen = window.seen = [];
  URL.createObjectURL = (blob) => { const url = make.call(URL, blob); blobs[url] = blob; return url; };
  new MutationObserver(() => seen.push(["value", readout.textContent, performance.now()]))
    .observe(readout, {childList: true, characterData: true, subtree: true});
  image.addEventListener("load", () => requestAnimationFrame(
    () => seen.push(["picture", image.src, performance.now()])));
}"""
SEEN = """async () => {
  const names = {};
  for (const [url, blob] of Object.entries(window.blobs)) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
    names[url] = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return window.seen.map(([kind, what, time]) => [kind, names[what] || what, time]);
}"""


def notebook() -> dict:
    cells = [
        dict(cell_type="code", id=f"cell-{i}", source=c, metadata={}, outputs=[], execution_count=None)
        for i, c in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab on a free port, with the notebook, and with settings and folders of its own."""
    home, port = tmp_path_factory.mktemp("lab"), free_port()
    (home / "explorers.ipynb").write_text(json.dumps(notebook()))
    quiet = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # it would ask, and look on the web
    folders = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    env = {name: value for name, value in os.environ.items() if name != "SSKD_STATIC"}
    env |= {f"JUPYTER_{name}": str(home / name) for name in folders}
    env |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython"), "no_proxy": "127.0.0.1"}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    options = {
        "port": port,
        "port_retries": 0,
        "ip": "127.0.0.1",
        "root_dir": home,
        "token": "",
        "password": "",
    }
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    command.append("--LabApp.expose_app_in_browser=True")
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=log)
        try:
            wait_for_answer(f"http://127.0.0.1:{port}/api", server, home / "log")
            yield f"http://127.0.0.1:{port}/lab/tree/explorers.ipynb"
        finally:
            server.terminate()  # it ends its kernels
            server.wait(30)


def wait_for_answer(address: str, server: subprocess.Popen, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        try:
            opener.open(address, timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not answer within 30 s: {log.read_text()}")


@pytest.fixture(scope="module")
def page(address: str) -> Iterator:
    """The notebook, opened and run; no error of a widget or of the kernel may reach the console."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, errors = browser.new_page(viewport={"width": 1440, "height": 1000}), []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_text("(ipykernel) | Idle").wait_for(timeout=60_000)  # at the foot of the window
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
        page.locator("[role=status]").nth(1).wait_for(timeout=60_000)
        yield page
        browser.close()
    assert [text for text in errors if "widget" in text.lower() or "comm" in text.lower()] == []


def cell(page, name: str):
    """The cell that holds an explorer."""
    return page.locator(".jp-Notebook .jp-Cell").nth({"temperature": 1, "selection": 2}[name])


def shown(explorer_cell):
    """The picture that the browser shows, as an array."""
    encoded = explorer_cell.locator("img").evaluate(
        """async (image) => {
          await image.decode();
          const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
          return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
        }"""
    )
    return picture(base64.b64decode(encoded))


def assert_shows(explorer_cell, explorer, **state) -> None:
    """Words and picture come to those of the state."""
    from playwright.sync_api import expect

    expect(explorer_cell.locator("[role=status]")).to_have_text(explorer.describe(**state), timeout=10_000)
    expected = picture(explorer.frame(**state))
    for _ in range(50):
        if (shown(explorer_cell) == expected).all():
            return
        time.sleep(0.05)
    pytest.fail(f"the words are those of {state}, the picture is not")


def drag(page, explorer_cell, shares: list[float]) -> float:
    """Take the handle along these shares of the slider's way, as fast as the browser takes it: seconds."""
    explorer_cell.locator(".widget-slider").scroll_into_view_if_needed()
    way = explorer_cell.locator(".noUi-base").bounding_box()
    handle = explorer_cell.locator(".noUi-handle").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    start = page.evaluate("performance.now()")
    for share in shares:
        page.mouse.move(way["x"] + share * way["width"], way["y"] + way["height"] / 2)
    seconds = (page.evaluate("performance.now()") - start) / 1000
    page.mouse.up()
    return seconds


@pytest.mark.parametrize(
    ("name", "make", "control"),
    [
        ("temperature", temperature_explorer, "temperature"),
        ("selection", selection_explorer, "keep_wrong"),
    ],
)
def test_mouse_and_keys_move_picture_and_words(page, name, make, control) -> None:
    explorer, here = make(), cell(page, name)
    values = [value for _, value in explorer.controls[control].options]
    assert_shows(here, explorer)
    drag(page, here, [0.3, 0.6, 0.9, 1.0])
    assert_shows(here, explorer, **{control: values[-1]})
    here.locator(".noUi-handle").focus()
    for back in (1, 2):
        page.keyboard.press("ArrowLeft")
        assert_shows(here, explorer, **{control: values[-1 - back]})
    page.keyboard.press("Home")
    assert_shows(here, explorer, **{control: values[0]})
    here.locator("button", has_text="Reset").click()
    assert_shows(here, explorer)


def test_a_dragged_slider_keeps_up(page, capsys) -> None:
    explorer, here = temperature_explorer(), cell(page, "temperature")
    assert_shows(here, explorer)
    here.evaluate(WATCH)
    options = explorer.controls["temperature"].options
    drawn = {sha256(explorer.frame(temperature=value)).hexdigest(): text for text, value in options}
    seconds = drag(page, here, [abs(step % 60 - 30) / 30 for step in range(PLACES)])  # to and fro
    assert_shows(here, explorer, temperature=options[-1][1])
    moved, values, waits, painted = {}, 0, [], [None]
    for kind, what, now in page.evaluate(SEEN):
        if kind == "value":
            moved[what], values = now, values + 1
        elif drawn[what] != painted[-1]:  # a picture we have not drawn would be a KeyError
            painted.append(drawn[what])
            waits.append(now - moved[drawn[what]])
    rate, late = len(waits) / seconds, statistics.quantiles(waits, n=20)[-1]
    with capsys.disabled():
        print(f"\n{rate:.0f} pictures a second while dragged, 95 % of them within {late:.0f} ms, ", end="")
        print(f"for {values / seconds:.0f} values a second that the mouse reached")
    assert rate >= 8 and late <= 250


def test_running_a_cell_again_leaves_one_explorer(page) -> None:
    explorer, here = temperature_explorer(), cell(page, "temperature")
    here.locator(".noUi-handle").focus()
    page.keyboard.press("End")
    assert_shows(here, explorer, temperature=20.0)
    for _ in range(2):
        here.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        assert_shows(here, explorer)
    assert page.locator(".jp-Notebook [role=status]").count() == 2  # one of each
    assert here.locator("img").count() == here.locator(".widget-slider").count() == 1
