"""Chromium, and one JupyterLab for a whole test session, with what reads and moves explorers in them.

Playwright leaves its event loop running in the thread for as long as it is open. Other tests need that thread
without one, so a browser is opened for a module and closed with it; the server stays.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.pictures import picture

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WANTED = {
    "Chromium (apt-get install chromium)": CHROMIUM,
    "Python's playwright (pip install playwright)": importlib.util.find_spec("playwright"),
}
MISSING = [name for name, found in WANTED.items() if not found]
DEMANDED = any(os.environ.get(name, "") not in ("", "0", "false") for name in ("CI", "SSKD_BROWSER_TESTS"))
# Where browsers are demanded, a test that misses one runs and fails: see `chromium`.
BROWSER_LACKS = "" if DEMANDED else " and ".join(MISSING)
PATIENCE = 300  # seconds that anything may take; against hanging only, on a machine busy with other things
SHOWN = """async (image) => {
  await image.decode();
  const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
  return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
}"""
CONTROLS = "[role=slider], input[type=range], select, button"
# Runs code in the kernel of the notebook that is open, beside its cells: [what it printed, its error].
ASK = """async (code) => {
  const kernel = jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
  const future = kernel.requestExecute({code, store_history: false}), found = ["", ""];
  future.onIOPub = (message) => {
    if (message.header.msg_type === "stream") found[0] += message.content.text;
    if (message.header.msg_type === "error") found[1] = message.content.traceback.join("\\n");
  };
  await future.done;
  return found;
}"""


@contextlib.contextmanager
def chromium() -> Iterator:
    """A browser of the system's Chromium."""
    if MISSING:
        pytest.fail(f"browser tests were asked for, and they need {' and '.join(MISSING)}.")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser, width: int = 1440, height: int = 1000, **options):
    """A page of a fresh profile, and the list to which its console's errors come."""
    page, errors = browser.new_page(viewport={"width": width, "height": height}, **options), []
    page.set_default_timeout(1000 * PATIENCE)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page, errors


def own_errors(errors: Sequence[str]) -> list[str]:
    """The errors of widgets or of the kernel; JupyterLab has others of its own."""
    return [text for text in errors if "widget" in text.lower() or "comm" in text.lower()]


def notebook_of(cells: Sequence[str]) -> dict:
    """A notebook of these code cells, none of them run."""
    found = [
        dict(cell_type="code", id=f"cell-{i}", source=c, metadata={}, outputs=[], execution_count=None)
        for i, c in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": found}


class Laboratory:
    """A JupyterLab on a free port, with settings and folders of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.home, self.port = Path(self._folder.name), free_port()
        self._write_settings(
            "apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False}
        )
        self._write_settings(
            "notebook-extension/tracker", {"windowingMode": "none"}
        )  # keep all cells on the page
        self._log = (self.home / "log").open("w")
        options = {"port": self.port, "port_retries": 0, "ip": "127.0.0.1", "root_dir": self.home}
        options |= {"token": "", "password": ""}
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
        command.append("--LabApp.expose_app_in_browser=True")
        self.server = subprocess.Popen(
            command, env=self._environment(), cwd=self.home, stdout=self._log, stderr=self._log
        )
        self._wait_for_answer()

    def _write_settings(self, part: str, values: dict) -> None:
        """Set what would ask the person, or look on the web."""
        file = self.home / "settings" / "@jupyterlab" / f"{part}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))

    def _environment(self) -> dict[str, str]:
        left_out = {"SSKD_STATIC", "SSKD_DATASET"}
        env = {name: value for name, value in os.environ.items() if name not in left_out}
        env |= {
            f"JUPYTER_{name}": str(self.home / name) for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
        }
        env |= {"HOME": str(self.home), "IPYTHONDIR": str(self.home / "ipython"), "no_proxy": "127.0.0.1"}
        env |= {"XDG_CACHE_HOME": str(self.home / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return env | {"JUPYTERLAB_SETTINGS_DIR": str(self.home / "settings")}

    def _wait_for_answer(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(10 * PATIENCE):
            try:
                opener.open(f"http://127.0.0.1:{self.port}/api", timeout=10).close()
                return
            except OSError:
                assert self.server.poll() is None, (self.home / "log").read_text()
                time.sleep(0.1)
        pytest.fail(f"JupyterLab did not answer within {PATIENCE} s: {(self.home / 'log').read_text()}")

    def add(self, name: str, notebook: dict) -> str:
        """Put a notebook into a folder of its own: the address that opens it, alone in a workspace."""
        file = self.file(name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(notebook), encoding="utf-8")
        return f"http://127.0.0.1:{self.port}/lab/workspaces/{name}/tree/{name}/{name}.ipynb"

    def file(self, name: str) -> Path:
        """Return where the server keeps a notebook."""
        return self.home / name / f"{name}.ipynb"

    def close(self) -> None:
        """End the server, which ends its kernels."""
        self.server.terminate()
        self.server.wait(PATIENCE)
        self._log.close()
        self._folder.cleanup()


LABORATORY = pytest.StashKey[Laboratory]()


def laboratory(config: pytest.Config) -> Laboratory:
    """The session's JupyterLab, started by the first test that asks for it."""
    if LABORATORY not in config.stash:
        config.stash[LABORATORY] = Laboratory()
        config.add_cleanup(config.stash[LABORATORY].close)
    return config.stash[LABORATORY]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_cells(page, address: str) -> None:
    """Open a notebook and run all its cells, to the end."""
    assert try_cells(page, address, PATIENCE)


def try_cells(page, address: str, seconds: float) -> bool:
    """Open a notebook and run its cells; whether none failed. Fails if they take longer."""
    page.goto(address)
    page.get_by_text("(ipykernel) | Idle").wait_for()  # at the foot of the window
    done = page.evaluate(
        """(limit) => Promise.race([
          jupyterapp.commands.execute("notebook:run-all-cells"),
          new Promise((resolve) => setTimeout(() => resolve("not done in time"), limit)),
        ])""",
        1000 * seconds,
    )
    assert done in (True, False), f"running all cells: {done}"
    return done


def theme(page, dark: bool) -> None:
    """Give JupyterLab its dark or its light theme, as its settings do."""
    name = "JupyterLab Dark" if dark else "JupyterLab Light"
    if page.locator("body").get_attribute("data-jp-theme-name") == name:
        return
    page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
    page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")
    page.wait_for_function(
        "getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim() !== ''"
    )  # its style sheet has come
    page.wait_for_timeout(300)  # and what it moves slowly is there


def ask(page, code: str) -> Any:
    """What the code prints, as JSON, in the kernel of the notebook that is open."""
    printed, error = page.evaluate(ASK, code)
    assert not error, error
    return json.loads(printed) if printed else None


def assert_shows(box, words: str, expected: np.ndarray) -> None:
    """Wait until a place shows these words and this picture."""
    from playwright.sync_api import expect

    expect(box.locator("[role=status]")).to_have_text(words)
    end = time.monotonic() + PATIENCE
    while not np.array_equal(shown(box), expected):
        assert time.monotonic() < end, f"the words are these, the picture is not: {words}"
        time.sleep(0.03)


def shown(place) -> np.ndarray:
    """The picture that the browser shows at a place, as an array."""
    return picture(base64.b64decode(place.locator("img").first.evaluate(SHOWN)))


def named(page, roles: Sequence[str] = ("slider", "combobox")) -> list[tuple[str, str]]:
    """What a screen reader finds on the page of these roles: role and name."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    found = [tuple(str(n.get(part, {}).get("value", "")) for part in ("role", "name")) for n in nodes]
    return [(role, name) for role, name in found if role in roles]


def tab_through(page, box, most: int = 20) -> list[int]:
    """Which of the box's controls Tab comes to, from the first one on, by their order in the box."""
    controls = box.locator(CONTROLS)
    controls.first.focus()
    reached = []
    for _ in range(most):
        at = box.evaluate(
            "(box, wanted) => [...box.querySelectorAll(wanted)].indexOf(document.activeElement)", CONTROLS
        )
        reached += [at] if at >= 0 else []
        page.keyboard.press("Tab")
    return reached


def overflowing(box) -> list[str]:
    """The parts of a box that are cut off, or reach beyond it or the window's edge; a margin of 2 px may."""
    return box.evaluate(
        """(box) => {
          const edge = Math.min(box.getBoundingClientRect().right, innerWidth) + 2;
          const parts = box.querySelectorAll("[role=slider], input, select, button, img, label, p[role]");
          return [...parts].filter((part) => {
            const place = part.getBoundingClientRect();
            return place.width && (place.right > edge || place.left < 0
              || (part.matches("p, label, button") && part.scrollWidth > part.clientWidth + 1));
          }).map((part) => part.outerHTML.slice(0, 80)).concat(
            box.scrollWidth > box.clientWidth + 1 ? ["the box itself"] : []);
        }"""
    )
