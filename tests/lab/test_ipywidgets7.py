"""Explorers under ipywidgets 7.7.1, which Colab still has: in a real kernel, every control set to every end.

Its browser side is not tried here: that needs a notebook server of its own age.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from helpers.every_explorer import MAKERS
from helpers.pictures import picture

pytestmark = pytest.mark.environment
TESTS = Path(__file__).parents[1]
LAB = TESTS.parent / "sskd_lib" / "lab"
OLD = ("ipywidgets==7.7.1", "widgetsnbextension==3.6.10", "ipython_genutils==0.2.0")
NO_INDEX = re.compile("No matching distribution found|Could not fetch|Temporary failure|ConnectionError")
# Sets each control of an explorer to its last option, its first and its start, and tells what stands there.
IN_KERNEL = """
import asyncio, html, json, re, warnings
from hashlib import sha256
warnings.filterwarnings("error")
warnings.filterwarnings("ignore", message=".*ipykernel.comm.Comm")  # the old ipywidgets' business
import ipywidgets
from helpers.every_explorer import MAKERS
from helpers.pictures import picture

assert ipywidgets.__version__ == "7.7.1", ipywidgets.__file__
make = MAKERS[NAME]
live, seen = make().live, []
for name, control in live.explorer.controls.items():
    for value in (control.options[-1][1], control.options[0][1], control.start):
        live.controls[name].value = value
        while live._coming is not None:
            await asyncio.sleep(0.002)
        places = [[v for _, v in c.options].index(live.controls[n].value)
                  for n, c in live.explorer.controls.items()]
        words = re.fullmatch('<p role="status"[^>]*>(.*)</p>', live.words.value, re.DOTALL)
        seen.append([places, html.unescape(words[1]), sha256(picture(live.picture.value)).hexdigest()])
live.close()
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def old_widgets() -> Iterator[Path]:
    """A folder with the old packages, which comes before those of the environment."""
    folder = Path(tempfile.mkdtemp(prefix="ipywidgets7-"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *OLD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode and NO_INDEX.search(done.stderr):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def run(old_widgets: Path) -> Iterator[Callable[[str], Any]]:
    """Runs code in a real kernel that has the old packages; gives what it printed, as JSON."""
    paths = [str(old_widgets), str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    env.pop("SSKD_STATIC", None)
    manager, client = start_new_kernel(kernel_name="python3", env=env, extra_arguments=["--log-level=ERROR"])

    def run(code: str) -> Any:
        answer: dict[str, str] = {"stdout": "", "error": ""}

        def take(message: dict) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                answer["stdout"] += content["text"]
            elif message["msg_type"] == "error":
                answer["error"] = "\n".join(content["traceback"])

        client.execute_interactive(code, timeout=600, output_hook=take)
        assert not answer["error"], answer["error"]
        return json.loads(answer["stdout"])

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("name", MAKERS)
def test_controls_move_under_the_old_widgets(name: str, run) -> None:
    """What the old widgets hold after each move is what an explorer in this process says and draws."""
    seen = run(IN_KERNEL.replace("NAME", repr(name)))
    explorer = MAKERS[name]()
    assert len(seen) == 3 * len(explorer.controls)
    for places, words, drawn in seen:
        state = {n: c.options[i][1] for (n, c), i in zip(explorer.controls.items(), places, strict=True)}
        assert words == explorer.describe(**state)
        assert drawn == sha256(picture(explorer.frame(**state))).hexdigest(), state
    for number, control in enumerate(explorer.controls.values()):
        last, first, start = (places[number] for places, _, _ in seen[3 * number : 3 * number + 3])
        assert (last, first) == (len(control.options) - 1, 0)
        assert control.options[start][1] == control.start


def widget_calls() -> Iterator[tuple[str, str, list[str]]]:
    """Where the lab makes a widget: the place, its class and the names of what is passed."""
    for file in sorted(LAB.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            owner = called.value if isinstance(called, ast.Attribute) else None
            if isinstance(owner, ast.Name) and owner.id in ("widgets", "ipywidgets"):
                passed = [keyword.arg for keyword in node.keywords if keyword.arg]
                yield f"{file.name}:{node.lineno}", called.attr, passed


def test_nothing_is_used_that_the_old_widgets_have_not(run) -> None:
    calls = list(widget_calls())
    assert len(calls) > 8
    unknown = run(f"""
import json, ipywidgets
print(json.dumps([
    [place, name, passed] for place, name, passed in {calls!r}
    if not set(passed) <= set(getattr(ipywidgets, name).class_trait_names())
]))""")
    assert unknown == []
