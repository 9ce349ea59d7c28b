"""docs/speed.md, docs/scale.md and benchmarks/README.md against the records and the library."""

from __future__ import annotations

import sskd_lib as sskd
from helpers.documents import cells, page, record, words
from sskd_lib.losses import BASES, METHODS
from sskd_lib.training.teacher_cache import table_bytes

FIRST, SECOND = "wrn_40_2→wrn_16_2", "resnet32x4→resnet8x4"


def test_step_times():
    names = {
        "published procedure, written out plainly": "published",
        "the same, on views made beforehand": "published, ready",
        "the same, freed memory kept": "published, ready, memory kept",
        "kit, plain float32 (`--exact`)": "kit, exact",
        "kit, float32, channels_last": "kit, float32",
        "kit, bfloat16, channels_last": "kit",
        "kit, with a cached teacher": "kit, table",
        "bare networks, same format as the kit": "networks, kit",
        "bare student": "student alone",
        "three students on one teacher": "three students",
    }
    columns = [("cpu", FIRST), ("cpu", SECOND), ("cuda", FIRST)]
    tables = [record(f"step_{device}")["pairs"][pair]["seconds a step"] for device, pair in columns]
    shown = cells("docs/speed.md")
    for row, name in names.items():
        assert shown[row] == [f"{table[name]['median']:.3g} s" if name in table else "" for table in tables]
    for device in ("cpu", "cuda"):
        runtime = record(f"step_{device}")["runtime"]
        assert (runtime["dtype"], runtime["channels_last"]) == ("bfloat16", True)


def test_ratios():
    pair = record("step_cpu")["pairs"][FIRST]
    shown = cells("docs/speed.md")
    names = {
        "published / kit in bfloat16": "published / kit",
        "published / kit with a cached teacher": "published / kit, table",
        "published / kit in float32": "published / kit, float32",
        "kit / bare networks": "kit / networks, kit",
        "three students / one": "three students / kit",
        "the same with `resnet8`": "resnet8, three students / resnet8, one student",
    }
    for row, name in names.items():
        ratio = pair["ratios"][name]
        assert shown[row][1] == f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
    memory = pair["peak memory, ratios"]["kit / networks, kit"]["resident"]
    assert shown["peak memory, kit / bare networks"][1] == f"{memory:.2f}"
    work = pair["ratios"]["own work of the kit, share of its step"]["median"]
    assert f"are {100 * work:.2g} % of the kit's step" in words("docs/speed.md")


def test_the_ratios_in_the_text():
    pair, second = (record("step_cpu")["pairs"][name]["ratios"] for name in (FIRST, SECOND))
    text = words("docs/speed.md")
    cured = pair["published, ready, memory kept / kit"]["median"]
    assert f"cured as well, the kit is {cured:.2f} times as fast" in text
    float32, bfloat16, cached = (
        second[f"published / {row}"]["median"] for row in ("kit, float32", "kit", "kit, table")
    )
    assert (
        f"float32 gains {float32:.2f}, bfloat16 {bfloat16:.2f}, and the cached teacher {cached:.2f}" in text
    )


def test_the_figures_of_the_gpu():
    pair, second = record("step_cuda")["pairs"][FIRST], record("step_cuda_more")["pairs"][SECOND]["ratios"]
    text = words("docs/speed.md")
    gain, floor = (pair["ratios"][f"{name}"] for name in ("published / kit", "kit / networks, kit"))
    assert f"{gain['median']:.1f} times as fast as the published procedure" in text
    assert f"({gain['low']:.1f} to {gain['high']:.1f} in five rounds" in text
    assert f"{floor['median']:.2f} times as long as the bare networks in the same format" in text
    assert f"({floor['low']:.2f} to {floor['high']:.2f}), with the second pair" in text
    assert f"the second pair {second['kit / networks, kit']['median']:.2f} times" in text
    epochs = pair["seconds an epoch of 50,000 images"]
    assert f"An epoch of 50,000 images takes {epochs['kit']['median']:.2f} s" in text
    assert f"with a cached teacher {epochs['kit, table']['median']:.2f} s" in text
    bare = 50_000 / 64 * pair["seconds a step"]["networks, kit"]["median"]
    assert f"the bare networks alone take {bare:.2f} s" in text
    (race,) = record("format_rule_cuda")["races"].values()
    eager = race["over the rule"]["bfloat16, channels_last"]["median"]
    assert f"Without the graph the same format takes {eager:.2f} times as long" in text
    for name in ("step_cuda", "step_cuda_more", "format_rule_cuda"):
        assert (record(name).get("runtime") or record(name)["rule"])["cuda_graph"]


def test_what_limits_the_ratio():
    """Rates of matrix products from arithmetic, time and utilisation; and the share needed for 3 times."""
    pair = record("step_cpu")["pairs"][FIRST]
    rate, used = {}, {}
    for name in ("published", "kit"):
        label = next(row for row in pair["utilisation"] if row.startswith(f"{name} ("))
        used[name] = pair["utilisation"][label]["median"]
        work = float(label.split("(")[1].split()[0])
        rate[name] = work / pair["seconds a step"][name]["median"] / used[name]
    needed = 3 * used["kit"] / pair["ratios"]["published / kit"]["median"]
    text = words("docs/speed.md")
    assert f"multiplies matrices {rate['kit'] / rate['published']:.1f} times as fast in bfloat16" in text
    assert f"step runs at {100 * used['kit']:.0f} % of that rate" in text
    assert f"would have to run at {100 * needed:.0f} %" in text


def test_further_pairs():
    pairs = record("step_cpu_more")["pairs"]
    vgg, shuffle = (pair["ratios"]["published / kit"]["median"] for pair in pairs.values())
    used = 100 * pairs["wrn_40_2→ShuffleV1"]["utilisation"]["kit (230 GFLOP)"]["median"]
    text = words("docs/speed.md")
    assert f"`vgg13` → `vgg8` gains {vgg:.2f} and `wrn_40_2` → `ShuffleV1`" in text
    assert f", whose step runs at {used:.0f} % of the format's rate, {shuffle:.2f} (`" in text


def test_cost_of_the_methods():
    methods = record("methods_cpu")["methods"]
    share = {name: 100 * figures["share"]["median"] for name, figures in methods.items()}
    text = words("benchmarks/README.md")
    assert {name for name, percent in share.items() if percent > 25} == {"reviewkd"}
    assert f"All but `reviewkd` ({share['reviewkd']:.0f} %) stay below a quarter" in text
    most = 100 * methods["kdsvd"]["share"]["max"]
    assert f"`kdsvd` ({share['kdsvd']:.0f} %, {most:.0f} in one round) just" in text
    assert set(methods) == set(METHODS) - set(BASES)
    too_large = 3 * 64 * 128 * 64  # [3B, D, B]
    sizes = {n: f["largest tensor"] for n, f in methods.items() if f["largest tensor"] >= too_large}
    assert set(sizes) == {
        *("at", "vid", "ab", "nst", "fsp", "kdsvd", "reviewkd", "crd"),
        "sskd-exemplar",
        "hsakd",
    }
    assert [size for size in sizes.values() if f"{size / 1e6:.2f}" not in text] == []


# ---- scale ---------------------------------------------------------------------------------------


def test_what_a_teacher_table_takes():
    draws, images = 8, 50_000
    row = cells("docs/scale.md")[f"{draws}, for 50,000 images, 100 classes, projections of 128 numbers"]
    assert row == [
        f"{4 * draws * images / 1e6:g} million",
        f"{table_bytes(images, 100, 128, draws) / 1e9:.1f} GB",
    ]
    assert f"passes {240 * 4 * images / 1e6:g} million views through its teacher" in words("docs/scale.md")


def test_what_imagenet_takes():
    assert f"1.28 million images take {1.28e6 * 3 * 256 * 256 / 1e9:.0f} GB" in words("docs/scale.md")


def test_the_imagenet_schedule():
    lines = page("docs/scale.md").splitlines()
    options = next(line for line in lines if line.startswith('R="--data shards:')).strip('R="').split()
    cut = options.index("--milestones")
    given = dict(zip(options[2:cut:2], options[3:cut:2], strict=True))
    shown = sskd.Schedule(
        epochs=int(given.pop("--epochs")),
        batch_size=int(given.pop("--batch-size")),
        lr=float(given.pop("--lr")),
        weight_decay=float(given.pop("--weight-decay")),
        milestones=tuple(map(float, options[cut + 1 :])),
    )
    assert given == {}
    for name in ("batch_size", "weight_decay", "momentum"):
        assert getattr(shown, name) == getattr(sskd.IMAGENET, name)
    rates = [[s.lr_at(epoch) for epoch in range(s.epochs)] for s in (shown, sskd.IMAGENET)]
    assert rates[0] == rates[1]
