# %% [markdown]
# # 08 · The time machine: what recorded trainings say, and what they do not
#
# **What you need:** notebook 04 (the four terms, the keep ratio).
#
# **Afterwards you can**
# * *go through* a training epoch by epoch and *name* what changes when;
# * *compute* a paired difference with its interval, and *say* what a few seeds can show and what they cannot;
# * *diagnose* a result that was picked as the best of many;
# * *judge* what each of the four terms adds in a mix;
# * *train* a recorded point anew and *explain* why the two curves part.
#
# **Time:** about 45 minutes to read and try; the cells take about a minute, most of it for one training.
# **Hardware:** two CPU cores are enough.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %% [markdown]
# ## What is recorded
#
# `data/make_recordings.py` trained the same student again and again: `resnet8`, taught by the shipped
# teacher, on a few labelled images of the embedded pack, for 60 epochs. It changed a few settings at a time
# and looked at every third epoch. (These are recordings: whatever images this notebook started with, they
# are of the embedded ones.)

# %%
import math

import numpy as np

grid, mix = lab.load_recording("grid"), lab.load_recording("mix")
for title, recording in (("grid", grid), ("mix", mix)):
    print(f"{title}: {len(recording.settings)} trainings, {len(recording.epochs)} looks each")
    for name in recording.settings[0]:
        print(f"  {name:>11}: {', '.join(f'{value:g}' for value in recording.values(name))}")
print(f"the teacher has {grid.teacher_accuracy:.1f} % of the test images right")

# %% [markdown]
# A **seed** draws three things: which images have labels, the student's first weights, and the order and
# views of the images. Runs of one seed share all three, whatever their other settings.
#
# ## 1. A training is a film
#
# Let $a_e$ be the accuracy after epoch $e$. How much of its way a student has gone by then is
#
# $$w_e = \frac{a_e - a_0}{a_{60} - a_0}$$
#
# **Predict.** After how many of the 60 epochs has a student with 300 labels gone 90 % of its way? Is it then
# as good as finished?
#
# (The picture below has sliders in a live notebook and on the pages of `make site`. Elsewhere it shows three
# epochs.)

# %%
lab.explore_time_machine(grid)


# %%
def curves(recording, **settings):
    """Accuracy in percent: a row for each seed, a column for each epoch looked at."""
    return np.array(
        [recording.accuracy[recording.find(**settings, seed=seed)] for seed in recording.values("seed")]
    )


USUAL = {"temperature": 4.0, "keep_wrong": 1.0}
for labels in grid.values("labels"):
    mean = curves(grid, labels=labels, **USUAL).mean(0)
    way = (mean - mean[0]) / (mean[-1] - mean[0])
    there = int(np.argmax(way >= 0.9))
    print(
        f"{labels:5g} labels: 90 % of the way after epoch {grid.epochs[there]}, at {mean[there]:.1f} %; "
        f"the rest brings {mean[-1] - mean[there]:+.1f} points"
    )

# %% [markdown]
# The way is not smooth. How far does a run fall between two looks, three epochs apart?

# %%
schedule = sskd.Schedule(epochs=int(grid.epochs[-1]))
rates = [schedule.lr_at(epoch) for epoch in range(schedule.epochs)]
cuts = [epoch for epoch in range(1, schedule.epochs) if rates[epoch] < rates[epoch - 1]]
falls = grid.accuracy[:, :-1] - grid.accuracy[:, 1:]
early = grid.epochs[1:] <= cuts[0]
print(f"the learning rate is cut after epochs {', '.join(map(str, cuts))}")
print(f"largest fall between two looks, before the first cut: {falls[:, early].max():5.1f} points")
print(f"                                        after it: {falls[:, ~early].max():16.1f} points")

# %% [markdown]
# While the learning rate is high, a student may lose in three epochs what it won in ten, and win it back. It
# settles when the rate is cut. So who compares two settings in the middle of a training compares mostly luck;
# and an unfinished training of 60 epochs is not a training of 30.
#
# **Look.** Set the seed to a single one and move the epoch. Do the dots of the features settle before or
# after the accuracy does? Which classes still lie over each other at the end, and is it the same for the
# teacher?
#
# ## 2. Four terms, four speeds
#
# The recording holds the four terms, unweighted. They are numbers of different sizes; so divide each by what
# it was in the first epoch looked at, $L_e / L_3$.
#
# **Predict.** Which of the four falls most? The learning rate is cut three times; will you see it?

# %%
middle = sorted(grid.values("labels"))[len(grid.values("labels")) // 2]
runs = [grid.find(**USUAL, labels=middle, seed=seed) for seed in grid.values("seed")]
names = {"ce": "L_ce", "kd": "L_kd", "tf": "L_T", "ss": "L_ss"}
fall = {names[name]: grid.terms[name][runs].mean(0)[1:] for name in names}
fall = {name: values / values[0] for name, values in fall.items()}
lab.show(
    lab.line_figure(grid.epochs[1:], fall, "epoch", "term, as a share of its first", "Mean of the seeds"),
    alt="The four terms over the epochs, each divided by its first value. After the last epoch: "
    + ", ".join(f"{name} {values[-1]:.2f}" for name, values in fall.items())
    + ".",
)
print(f"{middle:g} labels; the learning rate is cut after epochs {', '.join(map(str, cuts))}")

# %% [markdown]
# A term that falls less need not be a failure. $L_{ss}$ is a divergence from the teacher's similarity
# matrix, and a small student with other features may not be able to come nearer. What a falling term is
# *worth* is another question; section 6 asks it.
#
# ## 3. Does the temperature matter? What a few seeds can say
#
# **Predict.** $T = 1, 4, 8$: which is best, and by how many points?
#
# Two runs of the same seed share their images, first weights and order. So take differences pair by pair:
# $d_s = a^{(1)}_s - a^{(2)}_s$ for each seed $s$, then their mean and its 95 % interval,
#
# $$\bar d \;\pm\; t_{n-1}\,\frac{s_d}{\sqrt n}, \qquad s_d^2 = \frac{1}{n-1} \sum_s (d_s - \bar d)^2$$
#
# where $n$ is the number of seeds and $t_{n-1}$ comes from a table. In loops, against the library:

# %%
T_TABLE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # by n: 97.5 % point of Student's t, n - 1 degrees


def naive_interval(differences):
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    return mean, T_TABLE[n] * math.sqrt(variance / n)


example = [0.2, 0.9, 0.4]
np.testing.assert_allclose(naive_interval(example), lab.interval(example), rtol=1e-3)
print("{:+.2f} ± {:.2f}, by the loop and by the library".format(*lab.interval(example)))

# %% [markdown]
# Three differences, all above zero; and yet the interval contains zero. With $n = 3$ the factor
# $t_2/\sqrt 3$ is about 2.5: the mean must be two and a half times as large as the spread of the
# differences before zero is left out. Five seeds need only half of that.

# %%
settings = [
    {"temperature": t, "keep_wrong": k} for t in grid.values("temperature") for k in grid.values("keep_wrong")
]


def last(recording, **settings):
    """Accuracy after the last epoch, one number a seed."""
    return curves(recording, **settings)[:, -1].astype(float)


def contrasts(name):
    """Each value of a setting minus the usual one: label → paired differences."""
    found = {}
    for labels in grid.values("labels"):
        for value in grid.values(name):
            if value != USUAL[name]:
                one = last(grid, labels=labels, **USUAL | {name: value})
                found[f"{value:g}, {labels:g} labels"] = one - last(grid, labels=labels, **USUAL)
    return found


def verdict(differences):
    mean, half = lab.interval(differences)
    if np.isnan(half):
        return "one seed: no verdict"
    return "not told apart from 0" if abs(mean) <= half else "above 0" if mean > 0 else "below 0"


def show_contrasts(found, title):
    figure = lab.bars_with_intervals(found, "difference in test accuracy (points)", title)
    figure.axes[0].axvline(0, color="black", linewidth=1)
    told = "; ".join("{}: {:+.2f} ± {:.2f}".format(name, *lab.interval(d)) for name, d in found.items())
    lab.show(figure, alt=f"{title}. Paired differences, mean and 95 percent interval. {told}.")
    for name, differences in found.items():
        mean, half = lab.interval(differences)
        print(f"{name:>22}: {mean:+6.2f} ± {half:.2f}  {verdict(differences)}")


show_contrasts(contrasts("temperature"), f"Temperature T minus T = {USUAL['temperature']:g}")

# %% [markdown]
# Read the verdicts, and read them for what they are: "not told apart from 0" is no proof of no effect. The
# half width says how large an effect *could* hide there. And of several intervals at 95 %, one may well
# miss zero by luck alone; a lone one that barely does so is a hint, not a finding.
#
# ## 4. Does the keep ratio matter?
#
# The paper keeps 75 % of the wrong rows in its experiments on the ratio; here the ratio stands for both
# $L_T$ and $L_{ss}$. Ratio 0 means that only right rows teach.
#
# **Predict.** Ratio 0 throws away every rotated view the teacher gets wrong. How many points does that cost?

# %%
kept = contrasts("keep_wrong")
show_contrasts(kept, f"Share of wrong rows kept, minus {USUAL['keep_wrong']:g}")

# %% [markdown]
# **Change.** Go back to the time machine and move the share. Look at $L_T$ while you do: it is a mean over
# *kept* rows. With ratio 0 these are the easy ones, so a smaller $L_T$ there is no sign of a better student.
#
# ## 5. The best of nine
#
# A tempting way to read such a grid: take the setting with the highest mean and report its gain over the
# usual one. But the highest of nine noisy means is high also *because of the noise*.
#
# **Predict.** Choose the best setting by all seeds but one; then measure its gain over the usual setting on
# the seed that was left out. Will the gain be larger, smaller or the same there?

# %%
for labels in grid.values("labels"):
    table = np.array([last(grid, labels=labels, **one) for one in settings])
    gains = table - last(grid, labels=labels, **USUAL)  # a row for each setting, a column for each seed
    chosen, fresh, picks = [], [], []
    for left_out in range(gains.shape[1] if gains.shape[1] > 1 else 0):  # one seed cannot be left out
        seen = np.delete(gains, left_out, axis=1).mean(1)
        best = int(seen.argmax())
        chosen.append(seen[best])
        fresh.append(gains[best, left_out])
        picks.append("T = {temperature:g}, {keep_wrong:.0%} kept".format(**settings[best]))
    if picks:
        print(
            f"{labels:5g} labels: gain on the seeds that chose {np.mean(chosen):+.2f}, "
            f"on the seed left out {np.mean(fresh):+.2f} points\n             chosen: {'; '.join(picks)}"
        )

# %% [markdown]
# The first number can never be below zero, since the usual setting is among the nine; it says little. The
# second one is honest. Where it is much smaller than the first, the choice was led by noise; where the same
# setting wins every time and keeps its gain, there is something to it.
#
# How large is all this against what else can be changed?

# %%
means = {
    labels: [last(grid, labels=labels, **one).mean() for one in settings] for labels in grid.values("labels")
}
for labels, values in means.items():
    usual = last(grid, labels=labels, **USUAL)
    print(
        f"{labels:5g} labels: {len(settings)} settings from {min(values):.1f} to {max(values):.1f} %; "
        f"seeds of the usual one from {min(usual):.1f} to {max(usual):.1f} %"
    )

# %% [markdown]
# Compare the lines: what do more labels bring, what does the best of all settings bring, and what does
# another draw of the same number of labels bring?
#
# ## 6. What does each term add?
#
# $$L = \lambda_{ce} L_{ce} + \lambda_{kd} L_{kd} + \lambda_{T} L_{T} + \lambda_{ss} L_{ss}$$
#
# The mixes switch terms off and on, with 300 labels. What a term *adds* in a mix is the accuracy of the mix
# minus that of the same mix with this one weight at 0, seed by seed.
#
# **Predict.** In `official-code`, order the four terms by what they add. Then: does a term with a large share
# of the loss add much?

# %%
lab.explore_mix(mix)

# %%
TERMS = tuple(names)


def mixed(*weights):
    return last(mix, **dict(zip(TERMS, weights, strict=True)))


official = tuple(float(getattr(sskd.PRESETS["official-code"], name)) for name in TERMS)
adds = {}
for place, name in enumerate(TERMS):
    rest = tuple(0.0 if i == place else weight for i, weight in enumerate(official))
    adds[names[name]] = mixed(*official) - mixed(*rest)
show_contrasts(adds, "What each term adds in official-code")

# %% [markdown]
# That is the answer for *one* mix. A term may add much where it is nearly alone and nothing where others do
# its work already. So switch $L_T$, and then $L_{ss}$, on in every mix that was recorded without it:
#
# **Predict.** In which mixes does $L_T$ help? In which would you expect harm? And $L_{ss}$?

# %%
every = {tuple(float(one[name]) for name in TERMS) for one in mix.settings}


def in_every_mix(place):
    """What switching one term on changes, in each mix that was recorded with and without it."""
    for bare in sorted(every):
        more = tuple(official[i] if i == place else weight for i, weight in enumerate(bare))
        if bare[place] == 0 and more in every:
            on = " + ".join(names[name] for name, weight in zip(TERMS, bare, strict=True) if weight)
            gain = mixed(*more) - mixed(*bare)
            mean, half = lab.interval(gain)
            print(f"{on:>20}: {mixed(*bare).mean():5.1f} %, {mean:+7.2f} ± {half:5.2f}  {verdict(gain)}")


for name in ("tf", "ss"):
    alone = tuple(official[i] if TERMS[i] == name else 0.0 for i in range(4))
    print(f"{names[name]} alone: {mixed(*alone).mean():.1f} %. Switched on in")
    in_every_mix(TERMS.index(name))

# %% [markdown]
# Count the lines whose interval leaves zero out, and on which side. (Where one seed is recorded there is no
# verdict. Then the spread between seeds in section 5 says which differences are too small to mean anything.)
#
# Two things help to understand the table.
# $L_{ss}$ never sees a label or a class: it teaches which *images* are alike, so alone it cannot name a
# class. And $L_T$ looks at turned images only: without $L_{kd}$ nobody tells the student what the teacher
# says of upright ones, which are what it is tested on.
#
# ### The three published weightings
#
# The publications disagree on the weights (notebook 04, section 5). Does it matter here?

# %%
rivals = {
    f"{name} − official-code": mixed(*(float(getattr(preset, term)) for term in TERMS)) - mixed(*official)
    for name, preset in sskd.PRESETS.items()
    if name != "official-code"
}
show_contrasts(rivals, "Published weightings, 300 labels, 60 epochs")

# %% [markdown]
# The weightings differ mainly in $\lambda_T$: 2.7, 5 and 10. A weight multiplies a gradient, as a learning rate
# does, so a weighting that suits one schedule need not suit another: a verdict here is one on 60 short
# epochs, not on the paper's 240 longer ones.
#
# **Change.** In the mixer choose `arxiv` and look at the shares of the loss, early and late. Which term
# leads?
#
# ## 7. Train a point yourself
#
# In a live notebook the time machine has a button for this. Here is what it does: `distill` with a `watch`,
# a function that looks at the student after each epoch. The setting is a recorded one, with the fewest labels.
#
# **Predict.** Same code, same seed, same settings: will your curve lie exactly on the recorded one?

# %%
from sskd_lib.lab.time_machine_data import fresh_student, recipe_of

point = USUAL | {"labels": min(grid.values("labels")), "seed": grid.values("seed")[0]}
train, test = (sskd.load_images("fashion-mnist-lab", split) for split in ("train", "test"))
weights = sskd.data.DATA_FOLDER / "weights" / "fashion-mnist" / "teacher_wrn_16_2.safetensors"
yours = {}


def look(epoch, students):
    if epoch in grid.epochs[::2]:
        yours[epoch] = sskd.evaluate(students[0], test, kit.runtime)["accuracy"]


seed = int(point["seed"])
run = sskd.distill(
    fresh_student(train, seed),
    kit.runtime.place(sskd.load_checkpoint(weights)),
    train.take(int(point["labels"]), seed=seed),
    method="sskd",
    recipe=recipe_of(point),
    schedule=schedule,
    seed=seed,
    runtime=kit.runtime,
    watch=look,
)

# %%
recorded = grid.accuracy[grid.find(**point)]
shown = list(yours)
lines = {
    "recorded": [recorded[list(grid.epochs).index(epoch)] for epoch in shown],
    "yours": list(yours.values()),
}
gap = np.subtract(lines["yours"], lines["recorded"]).round(2) + 0.0  # no "-0.00"
lab.show(
    lab.line_figure(shown, lines, "epoch", "test accuracy (%)", "The same point, trained twice"),
    alt=f"Accuracy over the epochs, recorded and trained here. Largest gap {np.abs(gap).max():.2f} points, "
    f"after the last epoch {gap[-1]:+.2f}.",
)
for where, machine in (("recorded", grid.card["machines"][0]["runtime"]), ("here", kit.runtime.describe())):
    print(f"{where:>8}: {machine['device_name']}, {machine['dtype']}, threads: {machine['threads']}")
print(f"largest gap {np.abs(gap).max():.2f} points, after the last epoch {gap[-1]:+.2f}")

# %% [markdown]
# With the same kind of processor, number format and number of threads the two curves are one, to the last
# digit. On another machine, or with another number of threads, a sum of many numbers is rounded in another
# order; the last digits differ, and training enlarges such differences until the two students are as unlike
# as students of two seeds. That is no mistake, and it is one more reason not to believe a single run: compare
# the gap here with the differences between seeds in section 5.
#
# ## Check yourself
#
# 1. Three paired differences are $+0.3, +0.4, +0.5$. Does their interval contain zero?
# 2. You tried 20 settings with 3 seeds and report the best one. What is wrong, and what would you do instead?
# 3. With keep ratio 0, $L_T$ is smaller than with ratio 1. Is the student better?
# 4. A term adds +0.5 ± 0.9 points. What may you conclude?
# 5. Your run ends 0.6 points below the recorded one of the same seed. Is the code broken?
#
# <details><summary>Answers</summary>
#
# 1. Mean 0.4, $s_d = 0.1$, half width $4.303 \cdot 0.1/\sqrt 3 = 0.25$: from 0.15 to 0.65, zero is left out.
# 2. The best of 20 is best partly by luck. Choose on some seeds, measure on fresh ones, and say that you did.
# 3. Not for that reason: the mean is over other, easier rows.
# 4. The data fit a gain of up to 1.4 points as well as a loss of 0.4; whether there is a gain is open.
# 5. Not for that reason: compare the number format and threads, and the spread between seeds.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper claims | Measured here | Not tested here |
# |---|---|---|
# | Keeping 75 % of the wrong rows is best (its Table 1) | ratios 0, 0.5 and 1, for both terms at once: section 4 | 0.75 itself, each term on its own, 240 epochs |
# | $L_{ss}$ and $L_T$ each help | what each adds in each mix, 300 labels, 60 epochs: section 6 | longer training, where notebook 04 finds more |
# | One set of weights | three published ones, three seeds: section 6 | other data and pairs of networks |
#
# ## Make
#
# * **More seeds.** Widen `SEEDS` in `data/make_recordings.py`; `python data/make_recordings.py --dry-run`
#   says how long it takes. Which of the verdicts above would you expect to change?
# * **Another question for the film.** For each of the chosen images (`grid.images`, `grid.outputs`), find the
#   epoch from which on it is named rightly to the end. Are the images that the teacher is unsure of
#   (`grid.teacher_outputs`) also the ones that are learned last?
#
# Back to: [00 · Start here](00_start_here.ipynb).
