"""The runtime: formats compute the same, the choice follows its timings, measurements are kept well."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_recipes import few_images, pixel_network

from sskd_lib.data.views import four_views
from sskd_lib.lab import doctor as function  # noqa: F401 - the package's name is the function, not the module
from sskd_lib.losses import sskd_terms
from sskd_lib.recipes import Recipe
from sskd_lib.runtime import choice, probe
from sskd_lib.runtime import device as runtime_module
from sskd_lib.runtime.device import Runtime, choose_runtime, cpu_has_bfloat16, keep_freed_memory, usable_cores
from sskd_lib.training.train import create_network

CPU = torch.device("cpu")
PLAIN = Runtime()
LAST = Runtime(channels_last=True)
HALF = Runtime(dtype=torch.bfloat16, channels_last=True)
glibc = pytest.mark.skipif(not keep_freed_memory(False), reason="needs glibc")


@pytest.fixture
def threads():
    """torch's number of threads is afterwards what it was."""
    found = torch.get_num_threads()
    yield found
    torch.set_num_threads(found)


# ---- formats -------------------------------------------------------------------------------------


def test_outputs_are_float32_whatever_the_format():
    data = few_images(size=16, channels=3)
    network = create_network("resnet8", data, projection=True).eval()
    views = four_views(data.images[:2], augment=False)
    with torch.no_grad():
        plain = PLAIN.run(network, views)
        strided = LAST.run(LAST.place(network), views)
        half = Runtime(dtype=torch.bfloat16).run(network, views)
    for exact, other, rough in zip(plain[:3], strided[:3], half[:3], strict=True):
        assert exact.dtype == other.dtype == rough.dtype == torch.float32
        torch.testing.assert_close(other, exact, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.1)
        assert not torch.equal(rough, exact)  # it was bfloat16 inside
    assert plain.maps is None
    with torch.no_grad():
        maps = Runtime(dtype=torch.bfloat16).run(network, views, maps=True).maps
    assert len(maps) == 4 and all(m.dtype == torch.float32 for m in maps)
    assert network.backbone.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    PLAIN.place(network)
    assert network.backbone.conv1.weight.is_contiguous()


def test_run_passes_none_on():
    network = pixel_network(few_images(), seed=0, projection=False)
    assert Runtime(dtype=torch.bfloat16).run(network, torch.rand(2, 1, 6, 6)).projection is None


def step_losses(runtime: Runtime) -> dict[str, float]:
    """The loss terms of one step, and the size of its gradient."""
    data = few_images(count=16, size=16, channels=3)
    teacher = runtime.place(create_network("wrn_16_2", data, projection=True, seed=1)).eval()
    student = runtime.place(create_network("resnet8", data, projection=True, seed=2)).train()
    views = four_views(data.images, torch.Generator().manual_seed(0))
    with torch.no_grad():
        taught = runtime.run(teacher, views)
    terms = sskd_terms(runtime.run(student, views), taught, data.labels, Recipe())
    terms["total"].backward()
    squares = sum(parameter.grad.double().square().sum() for parameter in student.parameters())
    return {name: term.item() for name, term in terms.items()} | {"gradient": squares.sqrt().item()}


def test_no_format_changes_the_method(measured, threads):
    exact = step_losses(choose_runtime("cpu", exact=True))
    assert step_losses(LAST) == pytest.approx(exact, rel=1e-3)
    for runtime in (HALF, measured.chosen):
        runtime.prepare()
        assert step_losses(runtime) == pytest.approx(exact, rel=0.05, abs=2e-3)


def test_prepare_sets_the_threads_it_names_and_no_others(threads):
    Runtime(threads=1).prepare()
    assert torch.get_num_threads() == 1
    Runtime(threads=2).prepare()
    PLAIN.prepare()
    assert torch.get_num_threads() == 2


def test_describe_names_the_machine():
    facts = replace(HALF, why="for a test").describe()
    assert facts.keys() == (
        {"device", "device_name", "dtype", "channels_last", "threads", "capture", "keep_memory", "why"}
    )
    assert (facts["device"], facts["dtype"], facts["channels_last"]) == ("cpu", "bfloat16", True)
    assert (facts["capture"], facts["keep_memory"], facts["why"]) == (False, False, "for a test")
    assert facts["device_name"] and facts["threads"] == torch.get_num_threads()
    assert Runtime(threads=3).describe()["threads"] == 3
    assert json.loads(json.dumps(facts)) == facts


def test_words():
    assert PLAIN.in_words() == "plain float32"
    assert replace(LAST, threads=1).in_words() == "float32, channels_last, 1 thread"
    words = replace(HALF, threads=2, keep_memory=True, capture=True).in_words()
    assert words == "bfloat16, channels_last, 2 threads, the step captured as one graph, freed memory kept"


# ---- the choice without measuring ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("fpu avx512_bf16 sse", True), ("fpu amx_bf16", True), ("fpu avx2 bf16ish", False), (None, False)],
)
def test_bfloat16_is_chosen_where_the_processor_has_it(flags, fast, monkeypatch):
    def fake_open(path: str, **_: str) -> io.StringIO:
        assert path == "/proc/cpuinfo"
        if flags is None:
            raise FileNotFoundError(path)
        return io.StringIO(
            f"processor : 0\nmodel name\t: A: 1\nflags\t\t: {flags}\nbugs : none\n\nflags : none"
        )

    monkeypatch.setattr(runtime_module, "open", fake_open, raising=False)
    chosen = choose_runtime("cpu")
    assert chosen == (HALF if fast else LAST)
    assert chosen.why.startswith("rule of thumb") and "SSKD_RUNTIME=default" in chosen.why
    assert flags is None or runtime_module.cpu_name() == "A: 1"
    formats = [(r.dtype, r.channels_last) for r in probe.format_candidates(chosen)]
    assert formats == [*[(torch.bfloat16, True)] * fast, (torch.float32, True), (torch.float32, False)]


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_prefers_cuda_then_mps_then_the_cpu(cuda, mps, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    chosen = choose_runtime()
    if expected == "cpu":
        assert chosen == choose_runtime("cpu")
    else:  # the rule of thumb for CUDA; mps is never measured
        assert chosen == Runtime(device=torch.device(expected), channels_last=expected == "cuda")


def test_exact_and_mps_are_plain_and_measure_nothing(monkeypatch):
    monkeypatch.delenv("SSKD_RUNTIME")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(choice, "run_races", lambda *_: pytest.fail("measured"))
    exact, mps = choose_runtime("cpu", exact=True), choose_runtime("mps")
    assert exact == PLAIN and "exact" in exact.why
    assert mps == Runtime(device=torch.device("mps")) and "not been measured" in mps.why


@pytest.mark.parametrize("device", ["tpu", "", "gpu"])
def test_a_wrong_device_name_is_answered_with_the_right_ones(device):
    with pytest.raises(ValueError, match=f"there is no device '{device}'; choose auto, cpu, cuda or mps"):
        choose_runtime(device)


@pytest.mark.parametrize(("device", "cards"), [("cuda", 0), ("cuda:1", 1), ("mps", 0), ("meta", 0)])
def test_a_device_this_machine_lacks_is_refused(device, cards, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"this machine has no {device} device .* device='auto' or 'cpu'"):
        choose_runtime(device)


def test_a_wrong_setting_is_answered_with_the_right_ones(monkeypatch):
    monkeypatch.setenv("SSKD_RUNTIME", "fast")
    with pytest.raises(ValueError, match="SSKD_RUNTIME is 'fast'; set it to default .* or leave it unset"):
        choose_runtime("cpu")
    assert choose_runtime("cpu", exact=True) == PLAIN


def test_the_doctor_says_format_and_reason(monkeypatch):
    module = sys.modules["sskd_lib.lab.doctor"]
    monkeypatch.setattr(module, "choose_runtime", lambda: replace(HALF, threads=3, why="for a test"))
    monkeypatch.setattr(module, "_check_package", lambda name: module.Check(name=name, found=""))
    found = next(check.found for check in module.checks() if check.name == "device")
    assert found == (
        "CPU, 3 threads, no GPU (none is needed); numbers in bfloat16, channels_last; for a test"
    )


# ---- the probe -----------------------------------------------------------------------------------

BUDGET = 2.5  # seconds; enough for all three races, with fewer rounds


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A real measurement, once: what it chose, wrote and said, and the state of torch around it."""
    home, said = tmp_path_factory.mktemp("home"), io.StringIO()
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode(), contextlib.redirect_stderr(said):
        for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(home))
        for name in ("SSKD_RUNTIME", "OMP_NUM_THREADS"):
            patch.delenv(name, raising=False)
        patch.setattr(choice, "BUDGET", BUDGET)
        patch.setattr(choice, "busy", lambda: False)  # whatever runs beside the tests
        patch.setattr(choice, "_CHOSEN", {})
        torch.set_num_threads(1)
        state, started = torch.get_rng_state(), time.perf_counter()
        chosen = choose_runtime("cpu")
        seconds = time.perf_counter() - started
        undisturbed = {
            "random numbers": torch.equal(state, torch.get_rng_state()),
            "threads": torch.get_num_threads() == 1,
            "grad mode": torch.is_inference_mode_enabled(),
        }
        patch.setattr(choice, "_CHOSEN", {})
        again = choose_runtime("cpu")  # as the next program does
    torch.set_num_threads(threads)
    assert "failed" not in chosen.why
    (path,) = home.rglob("runtime.json")
    (entry,) = json.loads(path.read_text()).values()
    return SimpleNamespace(
        chosen=chosen,
        again=again,
        entry=entry,
        path=path,
        said=said.getvalue(),
        seconds=seconds,
        kept=undisturbed,
    )


def read_independently(race: list[dict]) -> dict:
    """The format that a race's timings speak for."""
    best, *others = race
    standard = least = np.median(best["seconds"])
    for other in others:
        seconds = np.median(other["seconds"])
        if seconds / standard < (0.95 if len(other["seconds"]) >= 2 else 0.5) and seconds < least:
            best, least = other, seconds
    return {name: value for name, value in best.items() if name != "seconds"}


def test_the_choice_is_what_its_timings_say(measured):
    races = measured.entry["races"]
    assert 1 <= len(races) <= 3 and all(s > 0 for race in races for one in race for s in one["seconds"])
    winners = [read_independently(race) for race in races]
    assert winners[-1].items() <= measured.entry.items()
    facts = measured.chosen.describe()
    assert {name: facts[name] for name in winners[-1] if name != "threads"}.items() <= winners[-1].items()
    assert measured.chosen.threads == winners[-1]["threads"]
    for earlier, race in zip(winners, races[1:], strict=False):  # each race goes on from the winner before
        assert earlier.items() <= race[0].items() and {one["threads"] for one in race} == {earlier["threads"]}
    if usable_cores() > 1:
        assert races[0][0]["threads"] == usable_cores()


def test_a_measurement_disturbs_nothing_and_holds_its_budget(measured):
    assert all(measured.kept.values()), measured.kept
    steps = [s for race in measured.entry["races"] for one in race for s in one["seconds"]]
    assert measured.seconds < BUDGET + 4 * max(steps) + 3  # the step that is under way, and torch's first use


def test_it_says_once_what_it_chose_and_why(measured):
    (line,) = measured.said.splitlines()  # the second call said nothing
    assert line.startswith("This machine was measured in ") and str(measured.path) in line
    assert measured.chosen.in_words() in line and measured.chosen.why in line and "exact=True" in line
    assert (measured.again, measured.again.why) == (measured.chosen, measured.chosen.why)


@pytest.mark.parametrize(
    ("race", "expected"),
    [
        ({LAST: [1.0, 1.0, 1.0], HALF: [0.96, 0.96, 0.96]}, LAST),  # four percent may be noise
        ({LAST: [1.0, 1.0, 1.0], HALF: [0.94, 0.94, 0.94]}, HALF),
        ({LAST: [1.0, 1.0, 1.0], HALF: [0.1, 1.2, 1.2]}, LAST),  # one lucky round
        ({LAST: [9.0, 1.0, 1.0], HALF: [0.97, 0.97, 0.97]}, LAST),  # one unlucky round
        ({LAST: [1.0, 1.0], HALF: [0.6]}, LAST),  # timed once: only twice as fast is clear
        ({LAST: [1.0, 1.0], HALF: [0.45]}, HALF),
        ({LAST: [1.0], HALF: [0.5, 0.5], PLAIN: [0.4, 0.7, 0.6]}, HALF),
        ({LAST: [1.0]}, LAST),
    ],
)
def test_only_a_clear_gain_replaces_the_default(race, expected):
    assert probe.winner(race) == expected


def run_scripted(monkeypatch, entrants: dict[Runtime, list[float]], end: float = float("inf")):
    """A race whose timings are read from a script, on a clock that they move. Returns race and turns."""
    clock, turns = SimpleNamespace(now=0.0), []

    def take_turn(runtime: Runtime, device: torch.device) -> float:
        seconds = entrants[runtime][turns.count(runtime)]
        turns.append(runtime)
        if seconds < 0:
            raise RuntimeError("cannot")
        clock.now += seconds
        return seconds

    monkeypatch.setattr(probe, "small_step", lambda runtime, batch: runtime)
    monkeypatch.setattr(probe, "time_step", take_turn)
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return probe.run_race(list(entrants), 16, end), turns


def test_candidates_take_turns_and_a_hopeless_one_is_left_out(monkeypatch):
    race, turns = run_scripted(monkeypatch, {LAST: [1.0] * 4, HALF: [1.4] * 4, PLAIN: [1.6] * 4})
    assert turns == [LAST, HALF, PLAIN] * 2 + [LAST, HALF] * 2
    assert race == {LAST: [1.0] * 4, HALF: [1.4] * 4, PLAIN: [1.6] * 2}
    race, turns = run_scripted(monkeypatch, {LAST: [9.0, 1.0], HALF: [0.5, 0.5]})
    assert turns == [LAST, HALF] * 2 and probe.winner(race) == HALF  # alone, it need not be timed again


def test_no_turn_begins_that_would_outlast_the_time(monkeypatch):
    entrants = {LAST: [1.0] * 4, HALF: [1.4] * 4}
    race, _ = run_scripted(monkeypatch, entrants, end=4.0)  # 1.0 + 1.4 + 1.0, then no 1.4
    assert race == {LAST: [1.0, 1.0], HALF: [1.4]}
    assert run_scripted(monkeypatch, entrants, end=0.5)[0] == {LAST: [1.0]}  # the first is timed anyhow


def test_a_candidate_that_fails_is_left_out_but_the_default_may_not(monkeypatch):
    race, turns = run_scripted(monkeypatch, {LAST: [1.0] * 4, HALF: [0.5, -1], PLAIN: [0.9] * 4})
    assert race == {LAST: [1.0] * 4, PLAIN: [0.9] * 4} and turns.count(HALF) == 2
    with pytest.raises(RuntimeError, match="cannot"):
        run_scripted(monkeypatch, {LAST: [-1], HALF: [1.0]})


def test_the_gain_is_told_against_plain_float32():
    two, kept = replace(HALF, threads=2), replace(HALF, threads=2, keep_memory=True)
    plain, last = replace(PLAIN, threads=2), replace(LAST, threads=2)
    races = [
        {two: [1.0, 1.0], replace(HALF, threads=1): [2.0, 2.0]},
        {two: [1.0, 1.0], last: [2.0, 2.0], plain: [3.0, 3.0]},
        {two: [5.0, 5.0], kept: [4.0, 4.0]},
    ]
    chosen = probe.conclude(races, 6.23)
    assert chosen == kept  # 3 · 5 / 4 = 3.75 times
    assert (
        chosen.why == f"measured in 6.2 s: {kept.in_words()}; 3.8 times as fast as plain float32, 2 threads"
    )
    assert "nothing was clearly faster" in probe.conclude([{LAST: [1.0, 1.0], HALF: [1.0, 1.0]}], 1.0).why
    assert "too long" in probe.conclude([{LAST: [30.0]}], 60.0).why


def test_threads_are_the_users_where_they_are_set(monkeypatch):
    monkeypatch.setattr(probe, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [r.threads for r in probe.thread_candidates(HALF)] == [8, 4, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert probe.thread_candidates(HALF) == [HALF]


def test_on_a_gpu_formats_and_capture_are_compared_and_nothing_else():
    last = Runtime(device=torch.device("cuda"), channels_last=True)
    half = replace(last, dtype=torch.bfloat16)
    expected = [last, half, replace(last, capture=True), replace(half, capture=True)]
    assert probe.format_candidates(last) == expected
    assert probe.thread_candidates(last) == probe.memory_candidates(last) == [last]


# ---- what is kept between programs ---------------------------------------------------------------


@pytest.fixture
def machine(own_home, monkeypatch):
    """A machine that is quick to measure. `.count` counts measurements, `.forget()` begins a new program."""
    machine = SimpleNamespace(count=0, chosen=replace(HALF, threads=1))

    def run_races(device: torch.device, budget: float) -> list[probe.Race]:
        machine.count += 1
        time.sleep(0.05)
        return [{LAST: [1.0, 1.0], machine.chosen: [0.4, 0.4]}]

    monkeypatch.setattr(choice, "run_races", run_races)
    machine.load = 0.0
    monkeypatch.setattr(os, "getloadavg", lambda: (machine.load, 9.0, 9.0), raising=False)
    machine.forget = lambda: monkeypatch.setattr(choice, "_CHOSEN", {})
    machine.forget()
    machine.path = choice.cache_folder() / "runtime.json"
    for name in ("SSKD_RUNTIME", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return machine


def test_a_machine_is_measured_once(machine, capsys):
    assert choose_runtime("cpu") == choose_runtime("cpu") == machine.chosen
    machine.path.rename(machine.path.with_suffix(".away"))
    assert choose_runtime("cpu") == machine.chosen and machine.count == 1  # the process remembers
    machine.path.with_suffix(".away").rename(machine.path)
    machine.forget()
    assert choose_runtime("cpu") == machine.chosen and machine.count == 1  # the file does
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("what", ["torch", "cores", "OMP_NUM_THREADS", "CPU", "probe"])
def test_another_machine_is_measured_anew_and_both_are_kept(what, machine, monkeypatch):
    choose_runtime("cpu")
    machine.forget()
    with monkeypatch.context() as patch:
        if what == "OMP_NUM_THREADS":
            patch.setenv(what, "1")
        elif what == "torch":
            patch.setattr(torch, "__version__", "9.9")
        elif what == "probe":
            patch.setattr(choice, "VERSION", 99)
        else:
            name, value = {"cores": ("usable_cores", 77), "CPU": ("cpu_name", "another")}[what]
            patch.setattr(choice, name, lambda: value)
        choose_runtime("cpu")
    assert machine.count == 2 and len(json.loads(machine.path.read_text())) == 2
    machine.forget()
    assert choose_runtime("cpu") == machine.chosen and machine.count == 2


DAMAGED_ENTRIES = {
    "no entry": 3,
    "unknown format": {"dtype": "float64"},
    "no threads": {"threads": 0},
    "too many threads": {"threads": 10_000},
    "threads no number": {"threads": True},
    "a text": {"keep_memory": "yes"},
    "cut": {"why": None},
}


@pytest.mark.parametrize("damage", [b"", b'{"a": ', b"[]", b"\xff\x00", b"[" * 100_000, *DAMAGED_ENTRIES])
def test_a_damaged_file_only_means_measuring_again(damage, machine):
    choose_runtime("cpu")
    good = machine.path.read_bytes()
    if isinstance(damage, str):
        ((key, entry),) = json.loads(good).items()
        wrong = DAMAGED_ENTRIES[damage]
        damage = json.dumps({key: entry | wrong if isinstance(wrong, dict) else wrong}).encode()
    machine.path.write_bytes(damage)
    machine.forget()
    assert choose_runtime("cpu") == machine.chosen and machine.count == 2
    assert {name for name in json.loads(machine.path.read_text())} == set(json.loads(good))


def test_without_a_folder_to_write_in_each_program_measures(machine, capsys):
    machine.path.parent.parent.mkdir(parents=True)
    machine.path.parent.write_text("a file where the folder should be")
    assert choose_runtime("cpu") == choose_runtime("cpu") == machine.chosen and machine.count == 1
    assert f"Not kept, because {machine.path} cannot be written" in capsys.readouterr().err
    machine.forget()
    assert choose_runtime("cpu") == machine.chosen and machine.count == 2
    assert machine.path.parent.read_text() == "a file where the folder should be"


def test_what_was_measured_beside_other_programs_is_not_kept(machine, capsys):
    machine.load = usable_cores() / 2 + 0.1
    assert choose_runtime("cpu") == machine.chosen and not machine.path.exists()
    assert "Not kept, because other programs were busy" in capsys.readouterr().err
    machine.forget()
    machine.load = usable_cores() / 2
    assert choose_runtime("cpu") == machine.chosen and machine.count == 2 and machine.path.exists()


def test_where_measuring_fails_the_rule_of_thumb_holds(machine, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(choice, "run_races", fail)
    chosen = choose_runtime("cpu")
    assert chosen == (HALF if cpu_has_bfloat16() else LAST)
    assert "rule of thumb" in chosen.why and "RuntimeError: no memory" in chosen.why
    assert "could not be measured" in capsys.readouterr().err and not machine.path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_programs_that_start_together_measure_once(machine):
    found, together = [], threading.Barrier(3)

    def program() -> None:
        together.wait()
        found.append(choice.measured_runtime(CPU))

    programs = [threading.Thread(target=program) for _ in range(3)]
    for thread in programs:
        thread.start()
    for thread in programs:
        thread.join(60)
    assert found == [machine.chosen] * 3 and machine.count == 1


# ---- freed memory --------------------------------------------------------------------------------

FAULTS = """
import resource, sys
import torch
from sskd_lib.runtime import Runtime, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(10_000_000)  # 40 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = [faults()]
Runtime(keep_memory=True).prepare()
faults()
found.append(faults())
keep_freed_memory(False)
found.append(faults())
print(*found)
"""


@glibc
def test_kept_memory_is_not_asked_for_again():
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], cwd=root, capture_output=True, text=True, check=True
    )
    found, kept, returned = map(int, done.stdout.split())
    pages = 10 * 40_000_000 // (2 << 20)  # at least, if the system uses pages of 2 MiB
    assert found > pages and returned > pages
    assert kept < min(found, returned) / 10


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(runtime_module.os, "confstr", lambda name: None)
    assert keep_freed_memory() is False
    monkeypatch.delattr(runtime_module.os, "confstr")  # Windows
    assert keep_freed_memory() is False
