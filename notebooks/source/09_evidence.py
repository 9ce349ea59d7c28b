# %% [markdown]
# # 09 · The evidence
#
# A table says that one method is 0.4 points ahead of another one. What has to be true before you believe it?
#
# **You need** notebook 01; notebook 08 helps. **You will be able to** judge which gaps in a table are larger than
# its noise, correct for many comparisons, and name the traps of printed tables. **Time:** 30 minutes; the cells take
# half a minute.

# %%
import itertools

import numpy as np
from scipy import stats

import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %%
lab.recall("09")

# %% [markdown]
# ## 1 · A lead of a few images
#
# Two students of the same teacher, one trained by KD and one by SSKD. Above: images that only SSKD gets right.
# Below: images that only KD gets right.

# %%
outputs = {name: sskd.predict(kit.student(name), kit.test, kit.runtime) for name in ("sskd", "kd")}
right = {name: output.logits.argmax(1) == kit.test.labels for name, output in outputs.items()}
only = {a: (right[a] & ~right[b]).nonzero().flatten().tolist() for a, b in (("sskd", "kd"), ("kd", "sskd"))}
lab.show_answers(kit.test, outputs, only["sskd"][:4])
lab.show_answers(kit.test, outputs, only["kd"][:4])
count, (ahead, behind) = len(kit.test), map(len, only.values())
half = 1.96 * (ahead + behind - (ahead - behind) ** 2 / count) ** 0.5
lead, half = (100 * number / count for number in (ahead - behind, half))
print(f"{count} images: only SSKD right on {ahead}, only KD right on {behind}")
print(f"lead of SSKD: {ahead - behind} images, {lead:+.2f} ± {half:.2f} points")

# %% [markdown]
# The lead is the difference of the two counts. All other images say nothing about it. The ± is the 95 %
# interval for other test images of the same kind. So the test set alone makes noise.
#
# And these are two single trainings. How far would another seed move the lead?
#
# ## 2 · One seed, three seeds, ten seeds
#
# From here on we read recorded runs, whatever images this notebook was started with. First: a small student, 300 labels of
# Fashion-MNIST, 240 epochs, ten seeds. A seed draws the labelled images, the first weights and the order. The **control**
# `kd+rotations` is SSKD without its contrastive term: soft targets on the same four views.

# %%
lab.predict("09-seeds")

# %%
last, best = lab.last_and_best(lab.recorded("fashion", 240))
gaps = {"sskd − kd": lab.paired(last)["sskd"], "sskd − control": lab.paired(last, "kd+rotations")["sskd"]}
above = {title: sum(x > 0 for x in d) for title, d in gaps.items()}
lab.reveal("09-seeds", above["sskd − control"], f"It is above KD in {above['sskd − kd']}.")
for title, d in gaps.items():
    words = "{}: above zero in {} of {} seeds, mean {:+.2f} ± {:.2f}"
    print(words.format(title, above[title], len(d), *lab.interval(d)))
    for n in (3, 5):
        trials = [lab.interval(part) for part in itertools.combinations(d, n)]
        clear = np.mean([abs(mean) > half for mean, half in trials])
        print(f"   had we run only {n} of these seeds: interval excludes zero in {clear:.0%} of all choices")
ratio = lab.pairing(last, "kd+rotations")["sskd"]
print(f"pairing by seed: spread of the difference is {ratio:.2f} of that of unrelated runs")
figure = lab.method_rows({"300 labels, 240 epochs": gaps}, "points", level=0)
lab.show(figure, alt=lab.rows_words({"300 labels": gaps}, "Paired differences of ten seeds in points"))

# %% [markdown]
# One seed is enough to see the large gap to KD. For the gap to the control it is no help: with another seed
# the sign changes. Ten seeds leave that question open, since the interval contains zero.
#
# The interval is mean ± t · spread / √n, of the differences seed by seed (notebook 08). Pairing helps where both
# methods have the same good and bad seeds, as here.
#
# ## 3 · Best epoch or last epoch
#
# Many papers print the best epoch on the *test* images. Here accuracy was measured at every tenth epoch.

# %%
lab.predict("09-best")

# %%
rows = {"last − last": (last, last), "best − best": (best, best), "best − last": (best, last)}
leads = {}
for title, (ours, theirs) in rows.items():
    d = [ours["sskd"][seed] - theirs["kd+rotations"][seed] for seed in ours["sskd"]]
    leads[title] = lab.interval(d)
    print("sskd − control, {}: {:+.2f} ± {:.2f}".format(title, *leads[title]))
lab.reveal("09-best", leads["best − last"][0] - leads["last − last"][0])

# %% [markdown]
# The best of many noisy epochs is too high for every method. Between two best epochs this cancels. Between a best
# and a last one it looks like a gain. Ask for the last epoch of both.
#
# ## 4 · Two dozen methods at once
#
# Now a larger record: every method of notebook 07 that fits, with a `resnet8` student, two teachers, three seeds.

# %%
runs = lab.zoo_runs()
accuracy = {pair: lab.by_method(runs, pair) for pair in dict.fromkeys(run["pair"] for run in runs)}
gaps = {pair: lab.paired(values) for pair, values in accuracy.items()}
changed = lab.changed_since(runs)
labels = lab.method_labels(sskd.METHODS, changed)
for text in (lab.describe_runs(runs), lab.describe_changes(changed), lab.pairing_words(accuracy)):
    print(text)

# %% [markdown]
# A row with † was not run with the published numbers. Read it as a run of other settings, not of the paper's method.
#
# Pairing by seed helped little here: the spread of a paired difference is close to that of unrelated runs (ratio near
# 1). With three seeds t is 4.30, so the intervals are wide. A gain of half their width may be real; three seeds cannot
# show it. And there are many intervals. Each one misses the truth once in twenty times.

# %%
lab.predict("09-worlds")


# %%
def kept_by_holm(p_values, alpha=0.05):
    """The names that remain: the smallest p must be below α/m, the next below α/(m-1), and so on."""
    kept = []
    for name in sorted(p_values, key=p_values.get):
        if p_values[name] > alpha / (len(p_values) - len(kept)):
            break
        kept.append(name)
    return kept


N, seeds = len(next(iter(gaps.values()))), 3
noise = np.random.default_rng(0).normal(size=(2000, N + 1, seeds))  # 2000 worlds in which no method matters
p = stats.ttest_1samp(noise[:, 1:] - noise[:, :1], 0, axis=2).pvalue  # all share the runs of KD
false = [(row < 0.05).sum() for row in p]
holm = [len(kept_by_holm(dict(enumerate(row)))) for row in p]
worlds, left = (100 * np.mean(np.array(counts) > 0) for counts in (false, holm))
lab.reveal("09-worlds", worlds)
print(f"{N} comparisons: {np.mean(false):.2f} intervals exclude zero on average")
print(f"at least one in {worlds:.0f} % of the worlds; after Holm in {left:.0f} %")

# %% [markdown]
# All comparisons subtract the *same* three runs of KD. One bad run of KD lifts every method, so false findings
# come together. Holm's correction (1979) allows for this: in at most 5 % of such worlds is anything left.
#
# Now the real gaps, with Holm's correction.

# %%
shapes = {pair: lab.gap_shapes(rows) for pair, rows in gaps.items()}
for pair, rows in gaps.items():
    kept = kept_by_holm({m: lab.p_value(d) for m, d in rows.items()})
    assert set(kept) == {m for m, shape in shapes[pair].items() if shape == "corrected"}
figure = lab.method_rows(gaps, "accuracy minus KD's (points)", shapes=shapes, labels=labels, level=0)
lab.shape_key(figure, {"": "contains zero", "different": "excludes it alone", "corrected": "after Holm"})
lab.show(figure, alt=lab.rows_words(gaps, "Paired differences to KD in points"))
print(lab.findings(gaps, labels))
print(lab.order_words(accuracy))

# %% [markdown]
# "Contains zero" is no proof of equality. Look at the width. Look also at `fitnet` and `nst`: high with the teacher of
# the student's own family, low with the other one. Another teacher changes the order of the methods more than another
# seed does (chance is 50 %). One pair of networks is not enough.
#
# ## 5 · Equal views, another length
#
# A method with ×4 sees four views of an image where KD sees one: four times the work per epoch. Its fair opponent is
# the control. Some methods were also trained for 60 epochs.

# %%
lab.predict("09-length")

# %%
from sskd_lib.lab.comparison.runs import LONGER

pair = next(iter(accuracy))
lengths = {"24 epochs": accuracy[pair], "60 epochs": lab.by_method(lab.zoo_runs(LONGER), pair)}
long = [lab.paired(lengths["60 epochs"], other)["sskd"] for other in ("kd", "kd+rotations")]
clear = [abs(mean) > half for mean, half in map(lab.interval, long)]
lab.reveal("09-length", "a" if all(clear) else "b" if clear[0] else "c")
print(lab.equal_views(lengths, labels))
both = {
    title: {m: d for m, d in lab.paired(v).items() if m in lengths["60 epochs"]}
    for title, v in lengths.items()
}
figure = lab.method_rows(both, "accuracy minus KD's (points)", labels=labels, level=0)
lab.show(figure, alt=lab.rows_words(both, "Paired differences to KD in points"))

# %% [markdown]
# The visible gain is that of soft targets on rotated views. After 24 epochs it looked as if four views gained nothing. A table is valid for
# its own length.
#
# ## 6 · The printed tables
#
# Now the papers, with sources and warnings in `data/published.csv`. Group A used the teachers of CRD's authors,
# group B those of SSKD's.

# %%
lab.predict("09-printed")

# %%
printed = {f"group {group}": lab.printed_gaps(group) for group in "AB"}
others = {method: np.mean(row) for method, row in printed["group B"].items() if method != "sskd"}
below = ", ".join(method for method, mean in others.items() if mean <= 0)
lab.reveal("09-printed", sum(mean > 0 for mean in others.values()), f"Below KD: {below or 'none'}.")
figure = lab.method_rows(
    printed, "printed minus KD's (points)", level=0, whiskers=False, missing="not printed"
)
lab.show(figure, alt=lab.rows_words(printed, "Printed differences to KD in points"))
print(lab.group_shift())

# %% [markdown]
# But look at the last lines. The teachers of group B are better on average, and so are its students
# without a teacher. Its KD is that of group A to both decimals, which a new run could hardly be. So a gap to KD in group B
# is a gap between two experiments.
#
# Other traps, and how many of the printed figures fall into each:

# %%
print(lab.printed_traps())
print(lab.printed_findings())
print(lab.paper_claims())

# %% [markdown]
# "Above by more" means: seeds alone hardly make such a gap. The *method* need not be the reason; teachers, views, best
# epochs and tuning differ too.
#
# On ImageNet one framework (torchdistill) ran six of these methods again, with one code and one teacher.

# %%
lab.predict("09-framework")

# %%
lab.reveal("09-framework", sum(again > 0 for _, again in lab.framework_gaps().values()))
print(lab.one_framework())

# %% [markdown]
# These are single runs, and not every recipe is the paper's. Still, a gap between two papers is not a gap between two methods.
#
# ## 7 · A table of your own
#
# `reproduce` trains every method with several seeds and can be stopped at any time. `--dry-run` says what it costs.
# `lab.zoo_runs("../runs/mine")` reads the result.
#
# ```sh
# python -m sskd_lib reproduce --table similar --data cifar10 --labels 1000 --epochs 60 --seeds 3 \
#     --pairs resnet20:resnet8 --methods kd kd+rotations sskd --out runs/mine --dry-run
# ```

# %%
lab.exit_ticket("09")

# %% [markdown]
# ## Check yourself
#
# 1. 25 methods are compared with KD, none is better. How many 95 % intervals exclude zero on average? With Holm,
#    what must the smallest $p$ be below?
# 2. A method with four views is 2 ± 1 points above KD. Name the next comparison.
# 3. A paper prints "KD 73.33, ours 76.20". Ask three questions.
# 4. Three seeds: +0.5 ± 2.0. Is the method as good as KD?
#
# <details><summary>Answers</summary>
#
# 1. $0.05 \cdot 25 = 1.25$; $0.05 / 25 = 0.002$.
# 2. With KD on the same four views, `kd+rotations`.
# 3. Was KD run with this teacher? Last or best epoch, how many seeds? The same views and compute?
# 4. Unknown: anything from −1.5 to +2.5 points fits.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The papers claim | Measured here | Not tested here |
# |---|---|---|
# | SSKD is ahead of the methods before it | printed figures counted; few labels, two pairs, against KD and the control | CIFAR-100 at full size |
# | Each later method is ahead of KD | the same runs, 24 and 60 epochs | tuning for this setting |
#
# ## Three lines to keep
#
# 1. Ask for seeds, the last epoch, and an opponent with the same views.
# 2. Many comparisons need a correction.
# 3. A gap between two papers is a gap between two experiments.
#
# Next: [10 · Break-it clinic](10_clinic.ipynb)
