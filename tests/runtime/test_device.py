"""The runtime: every format computes the same method, and the rule chooses by what the device can do."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers.pixels import few_images, pixel_network
from sskd_lib.data.views import four_views
from sskd_lib.lab.diagnosis import device_line
from sskd_lib.losses import sskd_terms
from sskd_lib.recipes import Recipe
from sskd_lib.runtime import hardware
from sskd_lib.runtime.device import Runtime, choose_runtime
from sskd_lib.runtime.hardware import cpu_name, keep_freed_memory, uses_glibc
from sskd_lib.training.train import create_network

PLAIN = Runtime()
LAST = Runtime(channels_last=True)
HALF = Runtime(dtype=torch.bfloat16, channels_last=True)


@pytest.fixture
def threads():
    """The number of torch's threads is afterwards what it was."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


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
    assert network.backbone.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    PLAIN.place(network)
    assert network.backbone.conv1.weight.is_contiguous()


def test_run_passes_none_on():
    network = pixel_network(few_images(), seed=0, projection=False)
    assert Runtime(dtype=torch.bfloat16).run(network, torch.rand(2, 1, 6, 6)).projection is None


def step_losses(runtime: Runtime) -> dict[str, float]:
    """The loss terms of one step, and the norm of its gradient."""
    data = few_images(count=16, size=16, channels=3)
    teacher = runtime.place(create_network("wrn_16_2", data, projection=True, seed=1)).eval()
    student = runtime.place(create_network("resnet8", data, projection=True, seed=2)).train()
    views = four_views(data.images, torch.Generator().manual_seed(0))
    with torch.no_grad():
        teacher_output = runtime.run(teacher, views)
    terms = sskd_terms(runtime.run(student, views), teacher_output, data.labels, Recipe())
    terms["total"].backward()
    squares = sum(parameter.grad.double().square().sum() for parameter in student.parameters())
    return {name: term.item() for name, term in terms.items()} | {"gradient": squares.sqrt().item()}


def test_no_format_changes_the_method():
    exact = step_losses(choose_runtime("cpu", exact=True))
    assert step_losses(LAST) == pytest.approx(exact, rel=1e-3)
    for runtime in (HALF, choose_runtime("cpu")):
        assert step_losses(runtime) == pytest.approx(exact, rel=0.05, abs=2e-3)


def test_autocast_is_one_dictionary_for_torch():
    assert HALF.autocast is HALF.autocast
    assert HALF.autocast == {
        "device_type": "cpu",
        "dtype": torch.bfloat16,
        "enabled": True,
        "cache_enabled": False,
    }
    assert not LAST.autocast["enabled"]
    matrix = torch.eye(3)
    with torch.autocast(**HALF.autocast):
        assert (matrix @ matrix).dtype == torch.bfloat16
    with torch.autocast(**LAST.autocast):
        assert (matrix @ matrix).dtype == torch.float32
    for copied in (copy.deepcopy(HALF), replace(HALF)):
        assert copied == HALF and copied.autocast == HALF.autocast
    assert replace(HALF, dtype=torch.float32).autocast == LAST.autocast


def test_prepare_sets_the_threads_it_names_and_no_others(threads):
    Runtime(threads=1).prepare()
    assert torch.get_num_threads() == 1
    Runtime(threads=2).prepare()
    PLAIN.prepare()
    assert torch.get_num_threads() == 2


def test_describe_names_the_machine():
    facts = replace(HALF, why="for a test").describe()
    assert facts.keys() == (
        {"device", "device_name", "dtype", "channels_last", "threads", "cuda_graph", "keep_memory", "why"}
    )
    assert (facts["device"], facts["dtype"], facts["channels_last"]) == ("cpu", "bfloat16", True)
    assert (facts["cuda_graph"], facts["keep_memory"], facts["why"]) == (False, False, "for a test")
    assert facts["device_name"] == cpu_name() and facts["threads"] == torch.get_num_threads()
    assert Runtime(threads=3).describe()["threads"] == 3
    assert json.loads(json.dumps(facts)) == facts


def test_words():
    assert PLAIN.in_words() == "plain float32"
    assert replace(LAST, threads=1).in_words() == "float32, channels_last, 1 thread"
    words = replace(HALF, threads=2, keep_memory=True, cuda_graph=True).in_words()
    assert words == "bfloat16, channels_last, 2 threads, the step as one CUDA graph, freed memory kept"


# ---- the rule ------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Replace what this machine can do: its processor's flags, its GPU's compute capability, mps."""

    def pretend(flags: str | None = "fpu", capability: tuple[int, int] | None = None, mps: bool = False):
        path = tmp_path / "cpuinfo"
        if flags is not None:
            path.write_text(f"processor : 0\nmodel name\t: A: 1\nflags\t\t: {flags}\nbugs :\n\nflags : none")
        monkeypatch.setattr(hardware, "CPUINFO", str(path))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(capability is not None))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("flags", "bfloat16"),
    [("fpu avx512_bf16 sse", True), ("fpu amx_bf16", True), ("fpu avx2 bf16ish", False), (None, False)],
)
def test_a_cpu_takes_bfloat16_where_it_has_the_arithmetic(flags, bfloat16, machine):
    machine(flags=flags)
    chosen = choose_runtime()
    assert chosen == replace(HALF if bfloat16 else LAST, keep_memory=uses_glibc())
    assert chosen.why == f"rule for CPUs {'with' if bfloat16 else 'without'} bfloat16 arithmetic"
    assert flags is None or cpu_name() == "A: 1"


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16), ((12, 0), torch.bfloat16)],
)
def test_a_gpu_takes_one_graph_and_bfloat16_from_capability_8(capability, dtype, machine):
    machine(capability=capability, mps=True)
    expected = Runtime(device=torch.device("cuda"), dtype=dtype, channels_last=True, cuda_graph=True)
    assert choose_runtime() == choose_runtime("cuda") == expected
    assert choose_runtime("cuda").why.startswith("rule for GPUs with")
    assert choose_runtime("cpu").device.type == "cpu"


def test_mps_and_exact_are_plain_float32(machine):
    machine(mps=True)
    chosen = choose_runtime()
    assert chosen == Runtime(device=torch.device("mps")) and "mps" in chosen.why
    machine(flags="amx_bf16", capability=(9, 0))
    assert choose_runtime("cpu", exact=True) == PLAIN
    exact = choose_runtime("cuda", exact=True)
    assert exact == Runtime(device=torch.device("cuda")) and exact.why == "exact=True: plain float32"


@pytest.mark.parametrize("device", ["tpu", "", "gpu"])
def test_a_wrong_device_name_is_answered_with_the_right_ones(device):
    with pytest.raises(ValueError, match=f"there is no device '{device}'; choose auto, cpu, cuda or mps"):
        choose_runtime(device)


@pytest.mark.parametrize(
    ("device", "gpu"), [("cuda", False), ("cuda:1", True), ("mps", False), ("meta", False)]
)
def test_a_device_this_machine_lacks_is_refused(device, gpu, machine):
    machine(capability=(9, 0) if gpu else None)
    with pytest.raises(ValueError, match=f"this machine has no {device} device .* device='auto' or 'cpu'"):
        choose_runtime(device)


def test_the_doctor_names_the_format():
    line = device_line(replace(HALF, threads=3))
    assert line == "CPU, 3 threads, no GPU (none is needed); numbers in bfloat16, channels_last"


# ---- freed memory --------------------------------------------------------------------------------

FAULTS = """
import resource
import torch
from sskd_lib.runtime.device import Runtime
from sskd_lib.runtime.hardware import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(10_000_000)  # 40 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

counts = [faults()]
Runtime(keep_memory=True).prepare()
faults()
counts.append(faults())
keep_freed_memory(False)
counts.append(faults())
print(*counts)
"""


@pytest.mark.skipif(not uses_glibc(), reason="needs glibc")
def test_kept_memory_causes_no_new_page_faults():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], cwd=root, capture_output=True, text=True, check=True
    )
    before, kept, returned = map(int, done.stdout.split())
    pages = 10 * 40_000_000 // (2 << 20)  # at least, if the system uses pages of 2 MiB
    assert before > pages and returned > pages
    assert kept < min(before, returned) / 10


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(hardware.os, "confstr", lambda name: None)
    assert keep_freed_memory() is False and not choose_runtime("cpu").keep_memory
    monkeypatch.delattr(hardware.os, "confstr")  # Windows
    assert keep_freed_memory() is False and not uses_glibc()
