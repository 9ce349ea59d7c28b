"""The shape of the library. The order of its rooms is held by import-linter: `make lint`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "sskd_lib"
ROOMS = {"data", "models", "losses", "runtime", "training", "reproduce", "lab"}
FILES = {"__init__.py", "__main__.py", "files.py", "recipes.py", "evaluation.py", "py.typed"}


def sources() -> list[Path]:
    """The library's files and the programs beside it."""
    return [file for folder in (LIBRARY, ROOT / "benchmarks", ROOT / "data") for file in folder.rglob("*.py")]


def trees() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted(LIBRARY.rglob("*.py")):
        yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


# ---- rooms ---------------------------------------------------------------------------------------


def test_the_library_has_twelve_entries():
    found = {path.name for path in LIBRARY.iterdir() if path.name != "__pycache__"}
    assert found == ROOMS | FILES


def test_test_folders_mirror_the_library():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders == ROOMS | {"helpers", "notebooks", "benchmarks", "project", "docs", "refusals"}


def test_no_test_imports_another():
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert [name for name in names if name.split(".")[-1].startswith("test_")] == [], file


# ---- names ---------------------------------------------------------------------------------------

# Words that mean nothing to a reader of this field: as a part of a name, or as the whole of one.
PARTS = {"lesson", "job", "feed", "look", "asked", "taught", "own", "judged", "tell", "told", "said", "found"}
WHOLE = {"leads", "share", "shares", "here"}


def given_names(tree: ast.AST) -> Iterator[str]:
    """Names of functions, classes, arguments and attributes that a file gives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_names_are_the_fields():
    found = {
        f"{file}: {name}"
        for file, tree in trees()
        for name in [*given_names(tree), Path(file).stem]
        if name in WHOLE or PARTS & set(name.lower().split("_"))
    }
    assert found == set()


# ---- nothing is unpickled ------------------------------------------------------------------------

UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# The CIFAR archives are pickles: they are opened once their hash is the published one. joblib keeps what this
# machine has computed, in the user's own cache.
ALLOWED = {"sskd_lib/data/archives.py": {"pickle"}, "sskd_lib/lab/tsne.py": {"joblib"}}


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def loads_unsafely(node: ast.AST) -> bool:
    """Whether a call is torch.load without weights_only, or has allow_pickle."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
    loads = node.func.attr == "load" and ast.unparse(node.func.value) in ("torch", "torch.jit")
    return (loads and given.get("weights_only") is not True) or given.get("allow_pickle", False) is not False


def unpicklers(source: str) -> set[str]:
    """What of a file could unpickle: modules, and "load" for calls that allow it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = imported(node)
        found |= {name.split(".")[0] for name in names} & UNPICKLERS
        found |= {"load"} if "torch.load" in names or loads_unsafely(node) else set()
    return found


def test_the_search_for_unpickling_finds_it():
    assert unpicklers("import pickle") == unpicklers("from pickle import loads") == {"pickle"}
    assert unpicklers("import dill as d") == {"dill"}
    for unsafe in ("torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)"):
        assert unpicklers(unsafe) == {"load"}
    assert unpicklers("from torch import load") == {"load"}
    safe = "torch.load(p, weights_only=True); np.load(p, allow_pickle=False); json.load(f)"
    assert unpicklers(safe) == set()


def test_nothing_in_the_kit_unpickles():
    found = {str(file.relative_to(ROOT)): unpicklers(file.read_text(encoding="utf-8")) for file in sources()}
    assert len(found) > 20
    assert {file: names for file, names in found.items() if names - ALLOWED.get(file, set())} == {}
