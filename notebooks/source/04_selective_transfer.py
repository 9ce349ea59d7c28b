# %% [markdown]
# # 04 · Choosing what to pass on
#
# **What you need:** notebooks 01 (soft targets) and 03 (similarity matrix, error rank).
#
# **Afterwards you can**
# * *compute* error ranks by hand and *decide* which rows a keep ratio keeps and drops;
# * *explain* what the ratio is a share of, and why right rows always stay;
# * *compute* the four terms of SSKD and their sum (Eq. 8) in loops;
# * *diagnose* which term pulls hardest on a student, instead of reading it off the weights;
# * *judge* from recorded runs what SSKD gained here, and what that gain is made of.
#
# **Time:** about 50 minutes to read and try; the cells take about a minute together, most of it for three
# short trainings.
# **Hardware:** two CPU cores are enough.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %%
import math

import torch

from sskd_lib.losses import (
    error_rank,
    image_of_row,
    selected_kl,
    similarity_matrix,
    sskd_terms,
    transfer_mask,
)

teacher = kit.teacher()


@torch.no_grad()
def look(network, images):
    """Output of a network for the 4B unaugmented views of B images, on the CPU."""
    views = sskd.four_views(images.to(kit.runtime.device), augment=False)
    return kit.runtime.run(network, views).to("cpu")


# %% [markdown]
# ## 1. Error rank, and which rows are kept
#
# The teacher is wrong on many rotated views: on their class (its classifier never saw rotations) and on
# their own image (notebook 03). Which of its answers shall the student imitate?
#
# The paper orders rows by how wrong they are. Let $s_{i,j}$ be the teacher's scores in row $i$ and $t(i)$
# the right column. The
# **error rank** counts the columns that lie above the right one:
#
# $$\mathrm{rank}_i = \left|\{\, j : s_{i,j} > s_{i,t(i)} \,\}\right|$$
#
# Rank 0 means the row is right. Of $W$ wrong rows, the $\lfloor k \cdot W \rfloor$ with the smallest rank
# are kept; **all right rows stay in any case**. So the keep ratio $k$ is a share of the *wrong* rows, not
# of all rows.
#
# **Predict.** Six rows, four columns; the right column is given. Write down the six ranks. Which rows stay
# with $k = 0.75$?

# %%
scores = torch.tensor(
    [
        [0.9, 0.1, 0.3, 0.2],
        [0.8, 0.6, 0.1, 0.2],
        [0.5, 0.7, 0.4, 0.6],
        [0.2, 0.3, 0.1, 0.9],
        [0.9, 0.2, 0.3, 0.8],
        [0.4, 0.9, 0.8, 0.6],
    ]
)
targets = torch.tensor([0, 1, 2, 3, 1, 3])


# %%
def naive_rank(row, target):
    return sum(1 for score in row if score > row[target])


def naive_kept(scores, targets, keep_wrong):
    """Numbers of the kept rows."""
    ranks = [naive_rank(row, target) for row, target in zip(scores, targets, strict=True)]
    right = [i for i, rank in enumerate(ranks) if rank == 0]
    wrong = sorted((i for i, rank in enumerate(ranks) if rank > 0), key=lambda i: ranks[i])
    return sorted(right + wrong[: math.floor(keep_wrong * len(wrong))])


kept = naive_kept(scores, targets, 0.75)
for i, (row, target) in enumerate(zip(scores, targets, strict=True)):
    print(
        f"row {i}: {' '.join(f'{s:.1f}' for s in row)}, right column {target}: "
        f"rank {naive_rank(row, target)}, {'kept' if i in kept else 'dropped'}"
    )

# %% [markdown]
# Two rows are right and stay. Four are wrong; $\lfloor 0.75 \cdot 4 \rfloor = 3$ of them stay. Rows 2 and 4
# are equally wrong, and only one of them can stay: ties keep their order, so it is row 2. (The published
# code leaves this to chance.)
#
# The library does this for a whole matrix at once, without a loop and with a mask of fixed size:

# %%
assert error_rank(scores, targets).tolist() == [
    naive_rank(r, t) for r, t in zip(scores, targets, strict=True)
]
random_scores = torch.randn(200, 12, generator=torch.Generator().manual_seed(0))
random_targets = image_of_row(200, 12)
for share in (0.0, 0.25, 0.5, 0.75, 1.0):
    for s, t in ((scores, targets), (random_scores, random_targets)):
        assert transfer_mask(s, t, share).nonzero().flatten().tolist() == naive_kept(s, t, share)
print("loops and library keep the same rows, for five ratios and 206 rows")

# %% [markdown]
# ## 2. Selection at work: which image?
#
# For $L_{ss}$ the scores are the teacher's similarity matrix, and the right column is the own image. The
# kit's default keeps $k = 0.75$ of the wrong rows.
#
# **Predict.** Before you move the slider: what do the rows look like that are *dropped* first?
#
# And what becomes of $L_{ss}$, a *mean* over the kept rows: does it grow or fall as more wrong rows are kept?
#
# (In a live notebook the next picture has a slider, and each step of the ranks shows its images when you
# point at it. On a static page it shows two settings. Pairs of images: the rotated view above, what the
# teacher took it for below. The curves at the bottom are $L_{ss}$ between the teacher and the shipped SSKD
# student, and the norm of its gradient on the student's cosines.)

# %%
images = kit.test.take(32, seed=4)
B = len(images)
shipped = kit.student("sskd")
taught, learnt = (look(network, images.images) for network in (teacher, shipped))
A, A_s = (similarity_matrix(out.projection[B:], out.projection[:B]) for out in (taught, learnt))
rotated = sskd.four_views(images.images, augment=False)[B:]
lab.explore_selection(
    rotated,
    A,
    image_of_row(3 * B, B),
    columns=images.images,
    student=(A_s, 0.5),
    keep_wrong=0.75,
    film=(0.25, 0.75),
    key="own image",
)

# %% [markdown]
# Whatever the share: the right rows always stay, and the bar at the lower left never gets shorter than they
# are. At 100 % nothing is selected at all.
#
# ## 3. Selection at work: which class?
#
# For $L_T$ the scores are the teacher's logits on the rotated views, and the right column is the class.
# Here the published code keeps $k = 1.0$: every row, no selection. The appendix of the arXiv version gives
# 75 % instead.
#
# **Predict.** On rotated views the teacher often names a wrong class. Which wrong class would you expect
# for a given class?

# %%
classes = images.labels.repeat(3)
lab.explore_selection(
    rotated,
    taught.logits[B:],
    classes,
    columns=images.classes,
    student=(learnt.logits[B:], 4.0),
    keep_wrong=1.0,
    film=(0.5, 1.0),
    key="class",
)

# %% [markdown]
# The curves once more, by the library's loss and autograd. Mind what the norm says: in a mean over $n$ rows each
# has the weight $1/n$, and the rows' gradients stand in different rows of the score matrix. So $n$ equal rows
# make a norm that falls like $1/\sqrt{n}$, although none of them pulls less. The last column, norm times
# $\sqrt{n}$, takes this out: it is the typical pull of a kept row (root mean square), before the mean.


# %%
def term(student_scores, teacher_scores, targets, temperature, share):
    """Number of kept rows, loss over them, and norm of its gradient on the student's scores."""
    leaf, keep = student_scores.double().requires_grad_(), transfer_mask(teacher_scores, targets, share)
    loss = selected_kl(leaf, teacher_scores.double(), temperature, keep)
    return int(keep.sum()), loss.item(), torch.autograd.grad(loss, leaf)[0].norm().item()


print(f"{'term':>5} {'share kept':>11} {'rows':>5} {'loss':>9} {'norm':>9} {'norm · √n':>10}")
for name, scores in (
    ("L_ss", (A_s, A, image_of_row(3 * B, B), 0.5)),
    ("L_T", (learnt.logits[B:], taught.logits[B:], classes, 4.0)),
):
    for share in (0.0, 0.5, 0.75, 1.0):
        rows, loss, norm = term(*scores, share)
        print(f"{name:>5} {100 * share:9.0f} % {rows:5} {loss:9.5f} {norm:9.5f} {norm * rows**0.5:10.5f}")

# %% [markdown]
# Is imitating wrong answers a good idea? The student will meet only upright images in the end. What it
# takes over here is how the teacher's whole output reacts to a turned image, right or wrong: more questions
# put to the same teacher.

# %% [markdown]
# ## 4. The four terms
#
# | term | on which rows | compares | Eq. |
# |---|---|---|---|
# | $L_{ce}$ | $B$ upright | the student's class with the label, cross-entropy | |
# | $L_{kd}$ | $B$ upright | softened logits, teacher and student, $\tau = 4$ | |
# | $L_T$ | kept rotated | softened logits, teacher and student, $\tau = 4$ | 7 |
# | $L_{ss}$ | kept rotated | softened rows of the similarity matrices, $\tau = 0.5$ | 6 |
#
# $$L = \lambda_{ce} L_{ce} + \lambda_{kd} L_{kd} + \lambda_{T} L_{T} + \lambda_{ss} L_{ss} \qquad \text{(Eq. 8)}$$
#
# The last three are one and the same formula, $\tau^2\,\mathrm{KL}(\text{teacher} \,\|\, \text{student})$,
# averaged over rows. In loops:


# %%
def naive_softmax(row, temperature=1.0):
    grown = [math.exp(v / temperature) for v in row.tolist()]
    return [g / sum(grown) for g in grown]


def naive_kl(student_row, teacher_row, temperature):
    p_t, p_s = naive_softmax(teacher_row, temperature), naive_softmax(student_row, temperature)
    return temperature**2 * sum(t * math.log(t / s) for t, s in zip(p_t, p_s, strict=True))


def mean(values):
    return sum(values) / max(len(values), 1)


# %%
def naive_terms(student, teacher, labels, recipe):
    """The four terms, and their weighted sum, of the outputs for 4B views."""
    B = len(labels)
    S, T = student.logits, teacher.logits
    ce = mean([-math.log(naive_softmax(S[i])[labels[i]]) for i in range(B)])
    kd = mean([naive_kl(S[i], T[i], recipe.kd_temperature) for i in range(B)])

    kept = naive_kept(T[B:], labels.repeat(3), recipe.tf_keep_wrong)
    tf = mean([naive_kl(S[B + r], T[B + r], recipe.tf_temperature) for r in kept])

    A_s, A_t = (similarity_matrix(o.projection[B:], o.projection[:B]) for o in (student, teacher))
    kept = naive_kept(A_t, image_of_row(3 * B, B), recipe.ss_keep_wrong)
    ss = mean([naive_kl(A_s[r], A_t[r], recipe.ss_temperature) for r in kept])

    total = recipe.ce * ce + recipe.kd * kd + recipe.tf * tf + recipe.ss * ss
    return {"ce": ce, "kd": kd, "tf": tf, "ss": ss, "total": total}


# %% [markdown]
# The kit calls $L_T$ `tf` and $L_{ss}$ `ss`. The check, on eight real images, in double precision:

# %%
few = kit.train.take(8, seed=1)
fresh = sskd.create_network("resnet8", kit.train, projection=True, seed=0)
fresh = kit.runtime.place(fresh)
recipe = sskd.PRESETS["official-code"]
answers = [look(network, few.images).to(torch.float64) for network in (fresh, teacher)]
naive = naive_terms(*answers, few.labels, recipe)
library = sskd_terms(*answers, few.labels, recipe)
for name, value in naive.items():
    torch.testing.assert_close(torch.tensor(value, dtype=torch.float64), library[name])
    print(f"{name:>5}: {value:8.4f}")
print("loops and library agree")

# %% [markdown]
# ## 5. Which weights?
#
# The published versions of the method **disagree** on the weights. The kit has each under its own name:

# %%
print(f"{'preset':>14} {'λ_ce':>6} {'λ_kd':>6} {'λ_T':>6} {'λ_ss':>6} {'keep, L_T':>10} {'keep, L_ss':>11}")
for name, preset in sskd.PRESETS.items():
    weights = f"{preset.ce:6g} {preset.kd:6g} {preset.tf:6g} {preset.ss:6g}"
    print(f"{name:>14} {weights} {preset.tf_keep_wrong:10g} {preset.ss_keep_wrong:11g}")

# %% [markdown]
# * `official-code`: the authors' published program after July 2020, the kit's default.
# * `arxiv`: the appendix of the second arXiv version. The two last weights stand the other way round.
# * `eccv-supp`: the supplement of the conference version. Only its weights are known to us; the rest is the
#   code's.
#
# A reader asked the authors about it in public; no answer is on record. Before July 2020 the program also
# had right and wrong rows swapped in the selection. Which version made the published tables is unknown.
#
# **Predict.** In `official-code` $L_{ss}$ has weight 10 and $L_{ce}$ weight 0.1. Does $L_{ss}$ pull a
# hundred times as hard on the student? What would you have to measure to know?

# %% [markdown]
# A weight multiplies a *number*, and the four terms are numbers of very different sizes. What moves the
# student is the
# **gradient** of each weighted term. Measured on one real batch of 64 training images, as length (norm) of
# the gradient on all weights of the student's backbone:


# %%
def pulls(student, images):
    """Unweighted terms, and the norm of each weighted term's gradient on the student's backbone."""
    views = sskd.four_views(images.images, torch.Generator().manual_seed(0)).to(kit.runtime.device)
    with torch.no_grad():
        taught = kit.runtime.run(teacher, views)
    student.train()
    terms = sskd_terms(kit.runtime.run(student, views), taught, images.labels.to(kit.runtime.device), recipe)
    parameters, norms = list(student.backbone.parameters()), {}
    for name in ("ce", "kd", "tf", "ss"):
        weighted = getattr(recipe, name) * terms[name]
        grads = torch.autograd.grad(weighted, parameters, retain_graph=True, allow_unused=True)
        norms[name] = math.sqrt(sum(g.float().square().sum().item() for g in grads if g is not None))
    return {name: terms[name].item() for name in norms}, norms


# %%
names = {"ce": "L_ce", "kd": "L_kd", "tf": "L_T", "ss": "L_ss"}
total = sum(getattr(recipe, name) for name in names)
shares = {"weight λ": [100 * getattr(recipe, name) / total for name in names]}
for who, student in (("untrained student", fresh), ("SSKD student", kit.student("sskd"))):
    values, norms = pulls(student, kit.train.take(64, seed=0))
    shares[f"gradient, {who}"] = [100 * norm / sum(norms.values()) for norm in norms.values()]
    print(who)
    for name, norm in norms.items():
        weight = getattr(recipe, name)
        print(f"  {names[name]:>4}: value {values[name]:7.4f}, weight {weight:4g}, gradient {norm:7.4f}")

# %%
lab.show(
    lab.mark_figure(list(names.values()), shares, "share of the sum (%)"),
    alt="Share of each term in the weights and in the gradients. L_ss has "
    + ", ".join(f"{values[3]:.0f} percent of the {what}" for what, values in shares.items())
    + ".",
)

# %% [markdown]
# The shares of the weights say little about the shares of the pull: the term with by far the largest weight
# need not be the one that pulls hardest. And the pull changes as the student learns. That is why the kit
# writes every term, unweighted, into each run's `metrics.jsonl`.
#
# ## 6. The full student, live
#
# Three short trainings with 300 labelled images, one seed:
#
# | method | views an image | terms |
# |---|---|---|
# | `kd` | 1, upright | $L_{ce} + L_{kd}$ |
# | `kd+rotations` | 4 | the same, and $L_T$ |
# | `sskd` | 4 | the same, and $L_T$ and $L_{ss}$ |
#
# Why the one in the middle? SSKD makes four views of each image, so its student sees **four times the
# images** of KD's in each epoch, at about four times the cost. If SSKD beats KD, is it for the
# self-supervised task, or for the additional pictures? `kd+rotations` is SSKD with $\lambda_{ss} = 0$; only
# the difference to *it* belongs to $L_{ss}$.
#
# **Predict.** Order the three after 20 epochs (100 steps).

# %%
labelled = kit.train.take(300, seed=0)


def train(method, epochs=20):
    head = sskd.create_method(method).needs_projection
    student = sskd.create_network("resnet8", kit.train, projection=head, seed=0)
    schedule = sskd.Schedule(epochs=epochs)
    options = {"schedule": schedule, "seed": 0, "runtime": kit.runtime, "evaluate_every": 4}
    return sskd.distill(student, teacher, labelled, kit.test, method=method, **options)


live = {method: train(method) for method in ("kd", "kd+rotations", "sskd")}

# %%
last = {method: run.history[-1]["test_accuracy"] for method, run in live.items()}
lab.show(
    lab.learning_curves({method: run.history for method, run in live.items()}, title="Live: one seed"),
    alt="Test accuracy of three short runs. After the last epoch: "
    + ", ".join(f"{method} {value:.1f} percent" for method, value in last.items())
    + ".",
)
print("after the last epoch:", ", ".join(f"{method} {value:.1f} %" for method, value in last.items()))

# %% [markdown]
# This is one seed and a very short training; see the recorded runs below for the spread and for what
# happens later. The same student at full length, from the command line, with the teacher's checkpoint:
#
# ```
# python -m sskd_lib distill --method sskd --labels 300 --student resnet8 \
#     --teacher data/weights/fashion-mnist/teacher_wrn_16_2.safetensors --out runs/sskd
# ```

# %% [markdown]
# ## 7. What recorded runs say
#
# `benchmarks/few_labels.py` trained all methods at full length, with several seeds. A seed draws the
# labelled images, the student's first weights and the order, *the same for every method*, so that
# differences can be taken pair by pair. Settings: embedded Fashion-MNIST with 300 labels, and CIFAR-10
# images with 1,000 labels; 240 epochs.
#
# **Predict.** For each setting: how large is SSKD's gain over KD? How much of it is left over KD +
# rotations?

# %%
settings = {"fashion": "Fashion-MNIST, 300 labels", "cifar10": "CIFAR-10, 1,000 labels"}
runs = {setting: lab.recorded(setting, 240) for setting in settings}
final = {
    setting: {
        method: [history[-1]["test_accuracy"] for history in histories] for method, histories in r.items()
    }
    for setting, r in runs.items()
}
seeds = {setting: len(values["sskd"]) for setting, values in final.items()}
print("seeds:", seeds)


def show_curves(setting):
    means = ", ".join(f"{method} {sum(v) / len(v):.1f} percent" for method, v in final[setting].items())
    title = f"{settings[setting]}: mean of {seeds[setting]} seeds, 95 % interval"
    alt = f"Recorded test accuracy over 240 epochs, {settings[setting]}. Means after the last epoch: {means}."
    lab.show(lab.learning_curves(runs[setting], title=title), alt=alt)


show_curves("fashion")

# %%
show_curves("cifar10")

# %% [markdown]
# The last epoch is the result. (Picking the best epoch by test accuracy would look better and mean less;
# see notebook 06.) Each small dot is a run:

# %%
for setting, name in settings.items():
    lab.show(
        lab.bars_with_intervals(final[setting], title=f"{name}, last of 240 epochs"),
        alt=f"{name}: test accuracy after the last epoch, every run as a dot, mean and 95 percent interval.",
    )

# %% [markdown]
# Which differences are real? Compare *pairs* of runs that share a seed: what they have in common (lucky
# images, lucky weights) drops out. A 95 % interval that does not contain zero says that the sign is hardly
# an accident of the seeds.


# %%
def minus(setting, a, b):
    return [x - y for x, y in zip(final[setting][a], final[setting][b], strict=True)]


for setting, name in settings.items():
    differences = {
        "SSKD − KD": minus(setting, "sskd", "kd"),
        "(KD + rotations) − KD": minus(setting, "kd+rotations", "kd"),
        "SSKD − (KD + rotations)": minus(setting, "sskd", "kd+rotations"),
    }
    figure = lab.bars_with_intervals(differences, "difference in test accuracy (points)", name)
    figure.axes[0].axvline(0, color="black", linewidth=1)
    found = ", ".join("{}: {:+.1f} ± {:.1f}".format(k, *lab.interval(v)) for k, v in differences.items())
    lab.show(figure, alt=f"Paired differences with 95 percent intervals, {name}. {found}.")

# %% [markdown]
# Read it off the figures:
#
# * SSKD's gain over KD is **real** in both settings, and large with the CIFAR-10 images.
# * Nearly all of it is already there in KD + rotations: it comes from the **rotated views** with soft
#   targets, $L_T$.
# * What $L_{ss}$ adds on top cannot be told from zero with these seeds. That is not proof that it adds
#   nothing; the interval says how large a gain would have been noticed.
#
# ### Length matters
#
# **Predict.** With how many epochs does the gain over KD appear?


# %%
def paired(setting, epochs, a, b):
    found = lab.recorded(setting, epochs)
    pairs = zip(found[a], found[b], strict=True)
    return "{:+6.2f} ± {:.2f}".format(
        *lab.interval([x[-1]["test_accuracy"] - y[-1]["test_accuracy"] for x, y in pairs])
    )


print(f"{'setting':>8} {'epochs':>7} {'SSKD − KD':>15} {'SSKD − (KD+rotations)':>24}")
for setting, lengths in {"fashion": (60, 240, 480), "cifar10": (30, 60, 240)}.items():
    for epochs in lengths:
        over_kd, over_rotations = (paired(setting, epochs, "sskd", b) for b in ("kd", "kd+rotations"))
        print(f"{setting:>8} {epochs:7} {over_kd:>15} {over_rotations:>24}")

# %% [markdown]
# In the shortest runs of each setting the gain over KD cannot be told from zero; it grows with the length
# of training. So a demonstration of a few epochs, such as the live one above, can neither show nor refute
# it.
#
# ### The same number of views
#
# SSKD with 60 epochs makes as many views as KD with 240 epochs. What if KD is simply given that time?

# %%
for setting, name in settings.items():
    short_sskd, long_kd = lab.recorded(setting, 60)["sskd"], lab.recorded(setting, 240)["kd"]
    pairs = zip(short_sskd, long_kd, strict=False)  # the seeds that both have
    difference = [x[-1]["test_accuracy"] - y[-1]["test_accuracy"] for x, y in pairs]
    print("{}: SSKD, 60 epochs − KD, 240 epochs: {:+.2f} ± {:.2f}".format(name, *lab.interval(difference)))

# %% [markdown]
# With that budget KD is not behind in either setting, and clearly ahead on Fashion-MNIST. (It also takes
# four times as many steps, each on a quarter of the views, and it cuts its learning rate later; so this
# compares budgets, not mechanisms.) SSKD's gain is a gain at the *same number of epochs*, for a student
# that can afford to be trained for long.
#
# **Change.** In section 6, train `sskd` with `recipe=sskd.PRESETS["arxiv"]` (an argument of
# `sskd.distill`). Write down your prediction first, then run it with `seed=0, 1, 2`. Would you trust one
# seed?

# %% [markdown]
# ## Check yourself
#
# 1. 192 rotated rows, 100 of them right, keep ratio 0.75. How many rows teach the student?
# 2. With ratio 0, is $L_{ss}$ zero?
# 3. $\lambda_{ss} = 10$ and $\lambda_{kd} = 0.9$. What follows for the influence of the two terms?
# 4. SSKD beats KD by three points in a paper that has no KD + rotations. What may you conclude about
#    $L_{ss}$?
# 5. A paired difference is $+0.4 \pm 0.5$. Say in one sentence what this means.
#
# <details><summary>Answers</summary>
#
# 1. $100 + \lfloor 0.75 \cdot 92 \rfloor = 169$.
# 2. No: the right rows always stay.
# 3. By themselves nothing: the pull of a term is its weighted gradient, and that has to be measured.
# 4. Nothing: the gain may come from the rotated views.
# 5. The data fit a gain of up to about 0.9 as well as a small loss; whether there is a gain at all is open.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper claims | Measured here | Not tested here |
# |---|---|---|
# | SSKD beats KD | Yes at 240 epochs and few labels, in two settings (section 7); not in short runs | CIFAR-100 at full size (notebook 06); other pairs of networks |
# | $L_{ss}$ and $L_T$ each help (its Fig. 3b, whose values could not be found) | $L_T$, with the rotated views: yes. $L_{ss}$ on top: not measurable with these seeds | More seeds, other data, a better teacher head |
# | Keeping 75 % of the wrong rows is best (its Table 1) | Ratios 0, 50 and 100 %, short runs: notebook 08 | 75 % itself, long runs |
#
# ## Make
#
# * **Sweep the ratio.** Train with `recipe=dataclasses.replace(sskd.Recipe(), ss_keep_wrong=r)` for
#   $r = 0, 0.5, 1$ with three seeds each and draw `lab.bars_with_intervals`. How many seeds would you need
#   to see a difference of half a point?
# * **Another order.** Rank the wrong rows by the *margin* (best score minus right score) instead of by
#   counting. On what share of the rows do the two choices differ?
#
# Next: [05 · Dark knowledge on a map](05_dark_knowledge_tsne.ipynb).
