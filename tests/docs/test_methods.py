"""README's table of the methods, and docs/methods.md, against the library."""

from __future__ import annotations

import re

from helpers.documents import ROOT, cells, page, rows, words
from sskd_lib import METHODS, PRESETS
from sskd_lib.losses.registry import BASES, PRETEXTS, TERMS

LOSSES = ROOT / "sskd_lib" / "losses"
PARTS = {"logits": "logits", "features": "features", "post_relu": "maps", "pre_relu": "maps before the ReLU"}


def methods_of(name: str) -> list[list[str]]:
    return [row for row in rows(name) if row[0].strip("`") in METHODS and row[0].startswith("`")]


def test_readme_has_each_method_once():
    names = [row[0].strip("`") for row in methods_of("README.md")]
    assert len(names) == len(set(names))
    assert set(names) == set(METHODS)
    assert f"{len(METHODS)} names" in page("docs/methods.md")
    assert f"a library with {len(METHODS)} methods" in words("CHANGELOG.md")


def test_the_papers_in_readme_are_the_sources_in_the_code():
    code = "".join(path.read_text(encoding="utf-8") for path in LOSSES.glob("*.py"))
    for _, _, paper in methods_of("README.md"):
        for number in re.findall(r"arXiv (\d{4}\.\d{5})", paper):
            assert f"arXiv {number}" in code, paper
            year = int(re.search(r" (\d{4}),", paper)[1])
            assert year - (2000 + int(number[:2])) in (0, 1, 2), paper


def test_weights_inputs_and_files_of_the_terms():
    shown = {row[0].strip("`"): row[1:] for row in methods_of("docs/methods.md")}
    assert set(shown) == set(TERMS)
    for name, (_, weight, inputs, file) in shown.items():
        term = TERMS[name]()
        assert float(weight) == term.weight, name
        assert inputs == PARTS[term.inputs], name
        assert file.strip("`") == term.__module__.rpartition(".")[2] + ".py", name


def test_every_method_is_in_one_family():
    families = [row for row in rows("docs/methods.md") if len(row) == 2][1:]
    names = [name for row in families for name in re.findall(r"`([^`]+)`", row[1])]
    assert sorted(names) == sorted(METHODS)
    assert set(BASES) | set(TERMS) | set(PRETEXTS) == set(METHODS)


def test_presets():
    shown = cells("docs/methods.md")
    for name, recipe in PRESETS.items():
        expected = [f"{weight:g}" for weight in (recipe.ce, recipe.kd, recipe.tf, recipe.ss)]
        expected += [f"{100 * kept:g} %" for kept in (recipe.tf_keep_wrong, recipe.ss_keep_wrong)]
        assert shown[f"`{name}`"] == expected
        assert (recipe.kd_temperature, recipe.tf_temperature, recipe.ss_temperature) == (4, 4, 0.5)


def listed(sentence: str) -> set[str]:
    """The methods that a bullet of the page begins with."""
    text = words("docs/methods.md")
    bullet = next(part for part in text.split(" - ") if sentence in part)
    return set(re.findall(r"`([^`]+)`", bullet[: bullet.index(sentence)]))


def test_what_the_page_says_of_single_methods():
    assert listed("train one term alone") == {name for name, term in TERMS.items() if term.first_stage}
    assert {term.first_stage for term in TERMS.values()} == {0, 1 / 8}
    assert listed("raise their weight linearly") == {name for name, term in TERMS.items() if term.warm_up}
    assert {term.warm_up for term in TERMS.values()} == {0, 1 / 12}
    assert listed("keeps a memory") == {name for name, term in TERMS.items() if term.single_process}
    assert listed("has no labels in its loss") == {name for name, t in TERMS.items() if t.ce_weight == 0}
    assert listed("imitate a head that is first trained") == set(PRETEXTS)
    soft = {name for name, term in TERMS.items() if term.replaces_kd}
    sentence = words("docs/methods.md").partition("Soft targets of another kind (")[2].partition(")")[0]
    assert set(re.findall(r"`([^`]+)`", sentence)) == soft
