# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: T4
#     provenance: []
# ---

# %% [markdown]
# # 06 · Training on a GPU
#
# How long does a fast GPU wait for the CPU? Two times of one step of SSKD were recorded on an H100: of the published
# procedure, written out plainly, and of the same on views that were made beforehand.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %%
lab.predict("06-waits")

# %%
step = lab.recorded_steps("cuda")  # seconds, medians
waits = 100 * (1 - step["published, ready"] / step["published"])
print(f"published {step['published']:.4f} s, with views ready {step['published, ready']:.4f} s")
lab.reveal("06-waits", waits)
print(f"kit, views made on the GPU {step['kit, exact']:.4f} s, bfloat16 and a CUDA graph {step['kit']:.4f} s")

# %% [markdown]
# The GPU waited for one CPU process that turned and cropped images. (The published code uses four, so its own share is
# smaller.) The kit makes its views on the GPU, computes in bfloat16, and starts a whole step with one
# call (a *CUDA graph*).
#
# This page is a reference for a training at the paper's size: CIFAR-100, teacher `wrn_40_2`, student `wrn_16_2`, 240
# epochs. *You need* notebook 04. *Time:* 15 minutes.

# %%
lab.recall("06")

# %% [markdown]
# ## 1 · What it costs
#
# A backward pass costs about two forward passes. So one image costs in one epoch:
#
# | stage | views | forward passes of the teacher | of the student |
# |---|---|---|---|
# | `teacher` | 1 | 3 | |
# | `head` | 4 | 4 | |
# | `ce` | 1 | | 3 |
# | `kd` | 1 | 1 | 3 |
# | `kd+rotations`, `sskd` | 4 | 4 | 12 |
#
# The costs of teacher and student are counted in the next cell.

# %%
lab.predict("06-costs")

# %%
costs = lab.full_costs()
control = f"Its control kd+rotations costs {costs['kd+rotations'] / costs['kd']:.0f} times as much as KD."
lab.reveal("06-costs", costs["sskd"] / costs["kd"], control)
lab.print_costs()

# %% [markdown]
# Hours need a clock:

# %%
lab.print_recorded_steps()

# %% [markdown]
# Hours are computed from one step. They leave out the tests after each epoch. On the CPU, a faster number format and
# stored teacher answers save time. A step starts hundreds of small operations on the GPU. One CUDA graph starts them all
# with a single call from Python; on the H100 this and bfloat16 bring most of the gain. A T4 has not been timed.
#
# ## 2 · The commands
#
# ```sh
# python -m sskd_lib teacher --data cifar100 --model wrn_40_2 --out runs/teacher
# python -m sskd_lib head --data cifar100 --teacher runs/teacher/teacher.safetensors --out runs/head
# python -m sskd_lib distill --data cifar100 --teacher runs/head/teacher.safetensors \
#     --student wrn_16_2 --method sskd --seed 0 --out runs/sskd-0
# ```
#
# - Add `--dry-run` to the last command first. It times a few steps, prints hours, memory and disk, and writes nothing.
# - Train the controls, each with its own `--out`: `--method ce`, `kd`, `kd+rotations`. Use several seeds.
# - `--first-weights 0 1 2` trains three students at once. They share the teacher's forward passes.
# - `--held-out 0.1` tests on a tenth of the training images instead of the test set. Choose settings with it.
# - `--preset arxiv` or `eccv-supp` takes the other published weights. `--override ss 5` changes one number.
#
# Stored teacher answers, two GPUs and ImageNet: `docs/scale.md`. Whole tables of the paper: `docs/reproduce.md`.
#
# The next cell is a dry run without files. It uses untrained networks and random pixels, because the time of a step does
# not depend on them.

# %%
import torch

if kit.runtime.device.type == "cuda":
    pixels = torch.randint(256, (50_000, 3, 32, 32), dtype=torch.uint8)
    labels, classes = torch.arange(50_000) % 100, tuple(map(str, range(100)))
    noise = sskd.ImageSet(images=pixels, labels=labels, classes=classes, name="noise")
    pair = [sskd.create_network(name, like=noise, projection=True) for name in ("wrn_40_2", "wrn_16_2")]
    print(sskd.estimate([pair[1]], pair[0], noise, method="sskd", runtime=kit.runtime))
else:
    print("No GPU here. For the hours on a CPU see the table above.")

# %% [markdown]
# ## 3 · In Colab
#
# Open this notebook by its badge. Choose *Runtime → Change runtime type → T4 GPU*, then run the first cell: it fetches the
# kit, and Colab's own torch stays. Give the commands above in a cell, each with `!` before it. A session's disk is deleted
# with it, so let every `--out` begin with `/content/drive/MyDrive/`, after:
#
# ```
# from google.colab import drive
# drive.mount("/content/drive")
# ```
#
# After a cut, run the first cell and this one, then give the same command again: it continues. Nothing of this was run in
# Colab itself yet.
#
# ## 4 · What to check
#
# | When | Look at | It should be |
# |---|---|---|
# | before | `python -m sskd_lib doctor` | no problem left |
# | after `teacher` | accuracy, last epoch | near 76; published 76.46 (best epoch) |
# | after `head` | `python -m sskd_lib evaluate` of its file: contrastive task | far above chance (1.6 % for 64 images); the kit's shipped teachers reach 38 % and 55 % on other images |
# | during | `metrics.jsonl`, one line per epoch | terms fall over the epochs, no `nan` |
# | after | `summary.json` | `last` is the result, `best` is not |
# | in the end | the same seeds of all methods | paired differences with an interval |
#
# A folder of another run is refused, and a finished run is not trained again.
#
# ## 5 · Three traps in published accuracies
#
# The paper prints accuracies of KD. An older paper prints them as well, with other teachers. And the paper reports the
# epoch with the highest *test* accuracy.

# %%
lab.predict("06-copied")

# %%
copied = lab.copied_kd_rows()
lab.reveal("06-copied", sum(copied))
lab.print_published()

# %%
lab.predict("06-best")

# %%
gains = lab.best_minus_last("fashion") + lab.best_minus_last("cifar10")
lab.reveal("06-best", sum(gains) / len(gains))
lab.print_best_minus_last()

# %% [markdown]
# 1. **A copied row.** The teachers are different, but the paper's KD row equals the older one. It seems to be copied.
#    Train your own KD.
# 2. **The best epoch.** The kit's runs were tested only 24 times in 240 epochs. More tests find a higher maximum.
# 3. **Code and tables.** The published code's selection was corrected in July 2020. The tables are older.

# %%
lab.exit_ticket("06")

# %% [markdown]
# ## Check yourself
#
# 1. Why may you time a step with untrained networks?
# 2. Your session was cut in epoch 93. What do you type?
# 3. A paper prints "KD 74.92, ours 75.3 (best epoch)". What do you ask?
#
# <details><summary>Answers</summary>
#
# 1. The same operations run, whatever the weights are.
# 2. The same command, with the same `--out`.
# 3. Was KD trained with the same teacher? What are the last epochs? How many seeds?
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper says | Measured here | Not tested |
# |---|---|---|
# | SSKD 76.04, KD 74.92 for this pair | – | The full CIFAR-100 training: neither number is confirmed or refuted |
# | – | SSKD costs four times KD; the step times above | A T4, several GPUs |
#
# ## Three lines to keep
#
# 1. SSKD costs four times KD, and so does its control `kd+rotations`.
# 2. Time a few steps before you start hours of training.
# 3. Report the last epoch of several seeds, beside your own KD and control.
#
# Next: [07 · A map of the methods](07_map_of_methods.ipynb)
