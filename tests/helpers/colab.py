"""An imitation of Colab: its Python and packages, an empty folder, and a kernel that runs there.

Not imitated: Colab's own front end, its GPU, its network, and what else it brings (a few hundred packages).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from helpers.commands import run

ROOT = Path(__file__).resolve().parents[2]
# What Colab brought in August 2026; neither JupyterLab nor tyro.
VERSIONS = {
    "torch": "2.11.0",
    "torchvision": "0.26.0",
    "numpy": "2.1.3",
    "ipywidgets": "7.7.1",
    "ipython": "7.34.0",
    "ipykernel": "6.17.1",
    "notebook": "6.5.7",
    "scikit-learn": "1.6.1",
    "matplotlib": "3.10.0",
    "seaborn": "0.13.2",
    "safetensors": "0.8.0",
    "pooch": "1.9.0",
}
# Colab has these too; which version is not noted.
OTHERS = (
    "tqdm",
    "typeguard",
    "filelock",
    "scipy",
    "lazy_loader",
    "joblib",
    "platformdirs",
    "psutil",
    "pyyaml",
)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def find_python() -> str | None:
    """Return a Python of a version that Colab has had: 3.12 or 3.13, from PATH or from pyenv."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.1[23].*/bin/python"), reverse=True)
    for candidate in ("python3.13", "python3.12", *map(str, pyenv)):
        code = "import ensurepip, sys; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))"
        if (program := shutil.which(candidate)) and run(program, "-c", code, cwd=Path.home()).returncode == 0:
            return program
    return None


def make_environment(python: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Make an environment with Colab's versions. torch is its build for CPUs where that index answers."""
    done = run(python, "-m", "venv", str(folder), cwd=folder.parent)
    if done.returncode:
        return done
    index = []
    with suppress(OSError), urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=5):
        index = ["--extra-index-url", CPU_INDEX]
    pinned = [f"{name}=={version}" for name, version in VERSIONS.items()]
    options = ["--quiet", "--only-binary", ":all:", "--no-compile", *index]
    return run(program(folder), "-m", "pip", "install", *options, *pinned, *OTHERS, cwd=folder.parent)


def program(environment: Path) -> str:
    """The Python of an environment."""
    return str(environment / "bin" / "python")


def installed(environment: Path) -> set[str]:
    """The packages of an environment, each with its version, as pip's folders name them."""
    return {
        path.name.removesuffix(".dist-info")
        for path in environment.glob("lib/python3*/site-packages/*.dist-info")
    }


def make_repository(folder: Path, branch: str) -> str:
    """Commit the working tree, as it is now, to a repository of its own; return that one's address."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    person = ["-c", "user.name=a test", "-c", "user.email=test@example.org"]
    for step in (
        ["init", "--quiet", "-b", branch],
        ["add", "--all"],
        [*person, "commit", "--quiet", "-m", "all"],
    ):
        done = run("git", *step, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder.as_uri()


class Kernel:
    """A kernel of the imitated Colab, in a folder of its own, where cells are run one by one."""

    def __init__(self, environment: Path, folder: Path, address: str) -> None:
        specification = folder.parent / f"{folder.name}-kernels" / "colab"
        specification.mkdir(parents=True)
        argv = [program(environment), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        text = json.dumps({"argv": argv, "display_name": "Colab", "language": "python"})
        (specification / "kernel.json").write_text(text, encoding="utf-8")
        specifications = KernelSpecManager(
            kernel_dirs=[str(specification.parent)], ensure_native_kernel=False
        )
        self.manager = AsyncKernelManager(kernel_name="colab", kernel_spec_manager=specifications)
        folder.mkdir(parents=True)
        self.folder = folder
        left_out = {"PYTHONPATH", "SSKD_STATIC", "SSKD_DATASET", "MPLBACKEND", "VIRTUAL_ENV"}
        self.variables = {k: v for k, v in os.environ.items() if k not in left_out} | {
            "PATH": os.pathsep.join([str(environment / "bin"), os.environ["PATH"]]),
            "COLAB_RELEASE_TAG": "release-colab",
            "SSKD_REPOSITORY": address,
            "IPYTHONDIR": str(folder.parent / f"{folder.name}-profile"),
        }

    def run(self, notebook: NotebookNode, limit: int = 600) -> None:
        """Run a notebook's cells in place. Raises what nbclient raises, with the cell that failed."""
        client = NotebookClient(notebook, timeout=limit, store_widget_state=False)
        client.km = self.manager  # given to the constructor, it would be left running
        client.execute(cwd=str(self.folder), env=self.variables)


def outputs_of(notebook: NotebookNode) -> list[tuple[str, Sequence[NotebookNode]]]:
    """The source and the outputs of each code cell."""
    return [(cell.source, cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def printed(outputs: Sequence[NotebookNode]) -> str:
    """What a cell wrote to stdout."""
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
