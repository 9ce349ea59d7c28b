"""What README and data/README say is what the recorded runs and the shipped weights hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import few_labels
import pytest
import zoo_tables

import sskd_lib as sskd
from sskd_lib.data.load import DATA_FOLDER
from sskd_lib.evaluation import interval
from sskd_lib.lab.zoo import FOLDER, LONGER, by_method, holm, p_value, paired, zoo_runs
from sskd_lib.losses import BASES, METHODS
from sskd_lib.reproduce.results import as_csv, as_markdown, result_rows
from sskd_lib.training.teacher_cache import table_bytes, views_an_image

ROOT = DATA_FOLDER.parent
WEIGHTS = sorted((DATA_FOLDER / "weights").rglob("*.safetensors"))


def test_readme_shows_the_recorded_table(capsys):
    few_labels.table()
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(printed) > 30
    assert [line for line in printed if line not in readme] == []


def step_record(device: str) -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / f"step_{device}.json").read_text(encoding="utf-8"))


def readme_cells() -> dict[str, list[str]]:
    """Cells of each table row of the README, by the first."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_readme_shows_the_recorded_step_times():
    rows = {
        "published procedure, written out plainly": "published",
        "the same, on views made beforehand": "published, ready",
        "the same, freed memory kept": "published, ready, memory kept",
        "kit, plain float32 (`--exact`)": "kit, exact",
        "kit, float32, channels_last": "kit, float32",
        "kit, as it chose": "kit",
        "kit, with a teacher table": "kit, table",
        "bare networks, same format as the kit": "networks, kit",
        "bare student": "student alone",
        "three students on one teacher": "three students",
    }
    first, second = "wrn_40_2→wrn_16_2", "resnet32x4→resnet8x4"
    columns = [("cpu", first), ("cpu", second), ("cuda", first)]
    tables = [step_record(device)["pairs"][pair]["seconds a step"] for device, pair in columns]
    cells = readme_cells()
    for shown, name in rows.items():
        expected = [f"{table[name]['median']:.3g} s" if name in table else "" for table in tables]
        assert cells[shown] == expected


def test_readme_shows_the_recorded_ratios():
    pair = step_record("cpu")["pairs"]["wrn_40_2→wrn_16_2"]
    cells = readme_cells()
    rows = {
        "published / kit in bfloat16": "published / kit",
        "published / kit with a table": "published / kit, table",
        "published / kit in float32": "published / kit, float32",
        "kit / bare networks": "kit / networks, kit",
        "three students / one": "three students / kit",
        "the same with `resnet8`": "resnet8, three students / resnet8, one student",
    }
    for shown, name in rows.items():
        ratio = pair["ratios"][name]
        assert cells[shown][1] == f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
    memory = pair["peak memory, ratios"]["kit / networks, kit"]["resident"]
    assert cells["peak memory, kit / bare networks"][1] == f"{memory:.2f}"
    own = pair["ratios"]["own work of the kit, share of its step"]["median"]
    assert f"are {100 * own:.2g} % of the kit's step" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_says_what_holds_the_ratio():
    """Rates of matrix products, from arithmetic, time and utilisation; and the share that 3x would take."""
    pair = step_record("cpu")["pairs"]["wrn_40_2→wrn_16_2"]
    rate, used = {}, {}
    for name in ("published", "kit"):
        label = next(row for row in pair["utilisation"] if row.startswith(f"{name} ("))
        used[name] = pair["utilisation"][label]["median"]
        work = float(label.split("(")[1].split()[0])
        rate[name] = work / pair["seconds a step"][name]["median"] / used[name]
    needed = 3 * used["kit"] / pair["ratios"]["published / kit"]["median"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"multiplies matrices {rate['kit'] / rate['published']:.1f} times as fast in bfloat16" in readme
    assert f"step runs at {100 * used['kit']:.0f} % of that rate" in readme
    assert f"would have to run at {100 * needed:.0f} %" in readme


def test_readme_and_benchmarks_show_the_further_records():
    results = ROOT / "benchmarks" / "results"
    pairs = json.loads((results / "step_cpu_more.json").read_text(encoding="utf-8"))["pairs"]
    vgg, shuffle = (pair["ratios"]["published / kit"]["median"] for pair in pairs.values())
    used = 100 * pairs["wrn_40_2→ShuffleV1"]["utilisation"]["kit (230 GFLOP)"]["median"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"`vgg13` → `vgg8` gains {vgg:.2f} and `wrn_40_2` → `ShuffleV1`" in readme
    assert f", whose step runs at {used:.0f} % of the format's rate, {shuffle:.2f} (`" in readme

    methods = json.loads((results / "methods_cpu.json").read_text(encoding="utf-8"))["methods"]
    share = {name: 100 * found["share"]["median"] for name, found in methods.items()}
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert {name for name, percent in share.items() if percent > 25} == {"reviewkd"}
    assert f"All but `reviewkd` ({share['reviewkd']:.0f} %) stay below a quarter" in text
    most = 100 * methods["kdsvd"]["share"]["max"]
    assert f"`kdsvd` ({share['kdsvd']:.0f} %, {most:.0f} in one round) just" in text
    assert set(methods) == set(METHODS) - set(BASES)
    too_large = 3 * 64 * 128 * 64  # [3B, D, B]
    sizes = {n: f["largest tensor"] for n, f in methods.items() if f["largest tensor"] >= too_large}
    assert set(sizes) == set("at vid ab nst fsp kdsvd reviewkd crd sskd-exemplar hsakd".split())
    assert [size for size in sizes.values() if f"{size / 1e6:.2f}" not in text] == []


def test_readme_shows_what_the_fast_formats_change(capsys):
    results = ROOT / "benchmarks" / "results"
    few_labels.compare(results / "formats_fast.jsonl", results / "formats_exact.jsonl")
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| sskd")]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(printed) == 1 and printed[0] in readme


def test_readme_says_what_a_teacher_table_takes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for draws, name in (("all", "`all`"), (8, "K = 8")):
        line = next(line for line in readme.splitlines() if name in line and "GB" in line)
        assert f"{table_bytes(50_000, 100, 128, draws) / 1e9:.1f} GB" in line
        assert f" {views_an_image(draws) * 50_000 / 1e6:g} million" in line
    assert f"asks its teacher {240 * 4 * 50_000 / 1e6:g} million times" in readme


def test_readme_shows_the_imagenet_schedule():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if line.startswith('R="--data shards:'))
    words = line.strip('R="').split()
    cut = words.index("--milestones")
    options = dict(zip(words[2:cut:2], words[3:cut:2], strict=True))
    shown = sskd.Schedule(
        epochs=int(options.pop("--epochs")),
        batch_size=int(options.pop("--batch-size")),
        lr=float(options.pop("--lr")),
        weight_decay=float(options.pop("--weight-decay")),
        milestones=tuple(map(float, words[cut + 1 :])),
    )
    assert options == {} and shown.batch_size == sskd.IMAGENET.batch_size
    assert shown.weight_decay == sskd.IMAGENET.weight_decay and shown.momentum == sskd.IMAGENET.momentum
    rates = [[s.lr_at(epoch) for epoch in range(s.epochs)] for s in (shown, sskd.IMAGENET)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_data_readme_shows_the_shipped_accuracies(path: Path):
    shipped = sskd.read_card(path)["shipped"]
    lines = (DATA_FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if f"`{path.parent.name}/{path.name}`" in line]
    assert f"| {shipped['images']:,} | {shipped['accuracy']:.2f} |" in line
    assert ("contrastive_accuracy" in shipped) == (sskd.load_checkpoint(path).head is not None)
    if "contrastive_accuracy" in shipped:
        assert f"| {shipped['contrastive_accuracy']:.1f} |" in line


def test_a_teacher_and_a_student_of_each_method_are_shipped():
    for folder in ("fashion-mnist", "cifar10"):
        names = {path.stem for path in WEIGHTS if path.parent.name == folder}
        assert names == {"teacher_wrn_16_2", *(f"student_resnet8_{method}" for method in sskd.losses.BASES)}
    assert sum(path.stat().st_size for path in WEIGHTS) <= 6_000_000


@pytest.mark.parametrize(
    "path", [p for p in WEIGHTS if p.parent.name == "fashion-mnist"], ids=lambda p: p.stem
)
def test_shipped_accuracy_holds_on_the_embedded_test_images(path: Path):
    """The pack has 2,000 of the 10,000 images the card speaks of; 1.5 points are over two deviations."""
    card = sskd.read_card(path)["shipped"]
    pack = sskd.load_images("fashion-mnist-lab", "test")
    assert sskd.evaluate(sskd.load_checkpoint(path), pack)["accuracy"] == pytest.approx(
        card["accuracy"], abs=1.5
    )
    if path.stem.startswith("teacher"):
        assert card["images"] == 10_000 and card["accuracy"] >= 93


@pytest.mark.parametrize(("folder", "epochs"), [(FOLDER, 24), (LONGER, 60)])
def test_the_recorded_zoos_are_the_means_of_their_runs(folder, epochs):
    runs = zoo_runs(folder)
    rows = result_rows(runs)
    assert {run["epochs"] for run in runs} == {epochs}
    assert (folder / "results.csv").read_text(encoding="utf-8") == as_csv(rows)
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert f" --epochs {epochs} " in text.partition("\n")[0]
    assert text.partition("\n")[2] == as_markdown(rows, "").partition("\n")[2]  # but for the command


def test_readme_shows_both_tables_of_the_zoo():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert zoo_tables.every_method() in readme and zoo_tables.longer() in readme


def test_readme_says_what_longer_training_changed():
    runs = zoo_runs(LONGER)
    (pair,) = {run["pair"] for run in runs}
    accuracy = by_method(runs, pair)
    assert {tuple(seeds) for seeds in accuracy.values()} == {(0, 1, 2)}
    p_values = {method: p_value(gaps) for method, gaps in paired(accuracy).items()}
    assert len(p_values) == 9 and max(p_values.values()) <= 0.05
    assert {m for m, p in holm(p_values).items() if p <= 0.05} == {"fitnet", "reviewkd", "crd"}
    mean, half = interval(paired(accuracy, "kd+rotations")["sskd"])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`sskd` is {mean:+.2f} ± {half:.2f} points from `kd+rotations`" in readme


def test_what_the_format_of_the_layers_changed():
    pair = "resnet20→resnet8"
    before = by_method(zoo_runs(), pair)
    with (FOLDER / "again.csv").open(encoding="utf-8", newline="") as text:
        again = [row for row in csv.DictReader(text) if row["pair"] == pair]
    moved = {m: [] for m in ("kd", "fitnet", "reviewkd")}
    for row in again:
        moved[row["method"]].append(float(row["last"]) - before[row["method"]][int(row["seed"])])
    assert {len(values) for values in moved.values()} == {3} and set(moved["kd"]) == {0.0}
    others = moved["fitnet"] + moved["reviewkd"]
    text = " ".join((ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").split())
    assert f"between {-min(others):.1f} points below and {max(others):.1f} above" in text


def test_the_recorded_zoo_is_whole_and_readme_counts_it():
    """Every method with three seeds at least, on both pairs but for those that README names."""
    runs = zoo_runs()
    rows = result_rows(runs)
    pairs = {row["pair"]: {} for row in rows}
    for row in rows:
        assert row["seeds"] >= 3
        pairs[row["pair"]][row["method"]] = row
    similar, cross = pairs.values()
    assert set(similar) == set(METHODS)
    assert set(METHODS) - set(cross) == {"fsp", "kdsvd"}  # README says why
    p_values = [{m: p_value(gaps) for m, gaps in paired(by_method(runs, pair)).items()} for pair in pairs]
    alone, holmed = (
        [sum(p <= 0.05 for p in change(values).values()) for values in p_values] for change in (dict, holm)
    )
    words = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    of = [len(values) for values in p_values]
    assert f"{alone[0]} of {of[0]} gaps to KD on the first pair and {alone[1]} of {of[1]} on the" in words
    assert f"(Holm), {holmed[0]} and {holmed[1]} are left" in words
