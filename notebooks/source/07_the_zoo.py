# %% [markdown]
# # 07 · The zoo: two dozen ways to teach a student, and which of them differ
#
# **What you need:** notebook 01 (soft targets). Notebook 04 (the four terms of SSKD) helps.
#
# **Afterwards you can**
# * *classify* a distillation loss by what it compares, and *identify* its relatives;
# * *compute* three of them in loops, and *predict* what each of them cannot notice;
# * *judge* which gaps in a table of many methods are larger than the noise, and *correct* for their number;
# * *name* the traps of printed tables;
# * *compose* a method of your own and *test* it.
#
# **Time:** about 45 minutes to read and try; the cells take under a minute.
# **Hardware:** two CPU cores are enough.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %% [markdown]
# ## 1. A map of the zoo
#
# Every method here asks the same thing of a student: be like the teacher. They differ in **where** they look
# (at the answers, the features behind them, or the maps deep inside) and in **how many images** they look at
# together. A loss that takes one image at a time says *give this image what the teacher gives it*; one that
# looks at images among each other says only *find those alike that the teacher finds alike*.
#
# **Predict.** Which of the two kinds needs an adapter where the teacher's features have 128 numbers and the
# student's 64?

# %%
lab.show(
    lab.zoo_map(),
    alt="Map of the methods. From above, what they look at: "
    + "; ".join(
        f"{layer}: {', '.join(m for m in sskd.METHODS if lab.compared_output(m) == layer)}"
        for layer in dict.fromkeys(map(lab.compared_output, sskd.METHODS))
    )
    + ".",
)

# %% [markdown]
# A number is the year of the paper; ×4 marks methods that look at four views of every image. The place of each
# is read from the library's own data.
#
# A loss that compares single images puts the student's numbers beside the teacher's, so the two must be of the
# same kind: unless they are logits (the classes are the same) or something that has lost its width, an adapter
# has to translate. A table of likenesses between images is of size $N \times N$ for any network.
#
# One line each. S is the student, T the teacher; $z$ logits, $p$ softened outputs, $f$ features, $F$ maps, $r$
# a learned adapter. The weight is that of the term beside cross-entropy. (`lab.zoo_card("sp").paper` says who
# wrote the paper.)

# %%
print(lab.zoo_table())

# %% [markdown]
# **Predict.** One of the weights is 30,000, another is 0.02. What does this say about the importance of the two
# terms? (Notebook 04, section 5, has the answer: by itself nothing. A mean of small squares needs a large
# weight.)
#
# A loss may bring parameters of its own, which are trained with the student and thrown away afterwards. The
# kit makes every term for the two networks at hand, so they can be counted.

# %%
import copy
import math

import numpy as np
import torch

from sskd_lib.losses import TERMS, Batch, create_method, create_term

images = kit.test.take(40, seed=1)
networks = {"student": kit.student("sskd"), "teacher": kit.teacher()}
views = sskd.four_views(images.images.to(kit.runtime.device), augment=False)


@torch.no_grad()
def outputs(maps):
    """Outputs of student and teacher for the four views, in float64 so that rounding is no excuse."""
    both = (kit.runtime.run(networks[name].eval(), views, maps=maps) for name in ("student", "teacher"))
    return [output.to("cpu").to(torch.float64) for output in both]


pairs = {kind: outputs(kind) for kind in ("post_relu", "pre_relu")}  # maps behind or before the ReLU
kinds = {name: "pre_relu" if term.inputs == "pre_relu" else "post_relu" for name, term in TERMS.items()}

# %%
made, refused = {}, {}
for name in TERMS:
    term = create_term(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            term.setup(*pairs[kinds[name]], images.labels)
            made[name] = term
        except ValueError as error:
            refused[name] = error

for name, term in made.items():
    parameters, kept = (sum(t.numel() for t in part) for part in (term.parameters(), term.buffers()))
    if parameters or kept:
        print(f"{name:10} {parameters:9,} parameters of its own, {kept:9,} numbers kept")
for name, error in refused.items():
    print(f"{name:10} not for these two networks: {str(error).partition('. ')[0]}")

# %% [markdown]
# What CRD keeps is a memory: two vectors for every training image, here for as many as the batch has.
#
# ## 2. Three of them by hand
#
# ### Similarity-preserving distillation (SP)
#
# Let $Q$ hold the activations of $N$ images, one a row. $G = Q Q^\top$ is a table of likenesses; its rows are
# divided by their lengths, $\tilde G_i = G_i / \lVert G_i \rVert$. The loss (Tung and Mori 2019) compares the
# two tables:
#
# $$L_{SP} = \frac{1}{N^2} \sum_{i,j} \left( \tilde G^T_{ij} - \tilde G^S_{ij} \right)^2$$
#
# **Predict.** The student's maps are multiplied by 3. Does $L_{SP}$ notice? And if its channels are shuffled?


# %%
def likeness_by_hand(maps):
    rows = maps.flatten(1)
    table = []
    for a in rows:
        products = [float((a * b).sum()) for b in rows]
        length = math.sqrt(sum(product**2 for product in products))
        table.append([product / length for product in products])
    return table


def sp_by_hand(student, teacher):
    s, t = likeness_by_hand(student), likeness_by_hand(teacher)
    N = len(s)
    return sum((s[i][j] - t[i][j]) ** 2 for i in range(N) for j in range(N)) / N**2


student, teacher = pairs["post_relu"]
F_s, F_t = student.maps[-1][:12], teacher.maps[-1][:12]
library = sskd.losses.sp.sp_loss
np.testing.assert_allclose(sp_by_hand(F_s, F_t), library(F_s, F_t).item(), rtol=1e-6)
shuffled = F_s[:, torch.randperm(F_s.shape[1], generator=torch.Generator().manual_seed(0))]
print(f"maps {list(F_s.shape[1:])} and {list(F_t.shape[1:])}: loop and library agree")
for title, maps in (("as it is", F_s), ("times 3", 3 * F_s), ("channels shuffled", shuffled)):
    print(f"{title:18} {library(maps, F_t):.6f}")

# %% [markdown]
# ### Decoupled distillation (DKD)
#
# KD's divergence has two parts (Zhao et al. 2022). With $p_y$ the softened output for the label and $\hat p$
# the softmax over the *other* classes alone:
#
# $$\mathrm{KL}(p^T \,\|\, p^S) = \underbrace{\mathrm{KL}\left((p^T_y, 1 - p^T_y) \,\|\, (p^S_y, 1 - p^S_y)\right)}_{\text{how sure}} + (1 - p^T_y) \underbrace{\mathrm{KL}(\hat p^T \,\|\, \hat p^S)}_{\text{how it ranks the others}}$$
#
# DKD gives the two parts weights of their own, $\alpha$ and $\beta$, and multiplies by $\tau^2$ like KD.
#
# **Predict.** The teacher is 99 % sure of the label. With what weight does KD hand on how it ranks the others?
# Who has more to gain from DKD: the pupil of a sure teacher or of a doubtful one?


# %%
def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def dkd_by_hand(student, teacher, labels, alpha, beta, tau):
    """beta: None for KD's own weight, 1 - p_T(label)."""
    total = 0.0
    for z_s, z_t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        sure, others = [], []
        for z in (z_s, z_t):
            powers = [math.exp(value / tau) for value in z]
            p_y, rest = powers[y] / sum(powers), powers[:y] + powers[y + 1 :]
            sure.append((p_y, 1 - p_y))
            others.append([power / sum(rest) for power in rest])
        weight = 1 - sure[1][0] if beta is None else beta
        total += alpha * kl(sure[1], sure[0]) + weight * kl(others[1], others[0])
    return tau**2 * total / len(labels)


z_s, z_t, y = student.logits[:40], teacher.logits[:40], images.labels
dkd, kd = sskd.losses.dkd.dkd_loss, sskd.losses.kd_loss
np.testing.assert_allclose(dkd_by_hand(z_s, z_t, y, 1.0, 8.0, 4.0), dkd(z_s, z_t, y).item(), rtol=1e-6)
np.testing.assert_allclose(dkd_by_hand(z_s, z_t, y, 1.0, None, 4.0), kd(z_s, z_t, 4.0).item(), rtol=1e-6)
print("loop and library agree; with weight 1 - p_T(label) it is KD")
for tau in (1.0, 4.0):
    doubt = 1 - sskd.losses.soften(z_t, tau)[range(40), y]
    least, mean = doubt.min(), doubt.mean()
    print(f"tau = {tau:g}: KD's weight on the other classes is {mean:.3f} on average, {least:.4f} at least")

# %% [markdown]
# ### Logit standardisation
#
# A small student may be unable to make logits as large as the teacher's, and what counts is their order and
# their proportions. So Sun et al. (2024) give every row mean 0 and deviation 1 before KD:
#
# $$\tilde z_k = \frac{z_k - \bar z}{\sigma(z)}$$
#
# **Predict.** Of KD, DKD and KD with standardised logits: which notice that 5 is added to all of a student's
# logits? Which notice that they are multiplied by 3?


# %%
def standardised_by_hand(logits):
    rows = []
    for z in logits.tolist():
        mean = sum(z) / len(z)
        sigma = math.sqrt(sum((value - mean) ** 2 for value in z) / (len(z) - 1))
        rows.append([(value - mean) / sigma for value in z])
    return torch.tensor(rows, dtype=logits.dtype)


kd_ls = sskd.losses.logit_std.standardised_kd_loss
by_hand = kd(standardised_by_hand(z_s), standardised_by_hand(z_t), 2.0)
torch.testing.assert_close(by_hand, kd_ls(z_s, z_t, 2.0))
losses = {
    "KD": lambda z: kd(z, z_t, 4.0),
    "DKD": lambda z: dkd(z, z_t, y),
    "KD, standardised": lambda z: kd_ls(z, z_t, 2.0),
}
for name, loss in losses.items():
    print(f"{name:17} as it is {loss(z_s):8.4f}   plus 5 {loss(z_s + 5):8.4f}   times 3 {loss(3 * z_s):8.4f}")

# %% [markdown]
# ### What each loss does not notice
#
# What a loss does not notice it cannot ask for, and cannot disturb either. So we change the *student's* output,
# leave the teacher's as it is, and measure by what share every loss of the zoo changes. (Last column: the
# images in another order, for both networks.)
#
# **Predict.** Which losses have a 0 under "rotate"? A rotation of the feature space leaves all distances and
# angles between images as they are. And can any loss notice in which order a batch comes?

# %%
draw = torch.Generator().manual_seed(0)
order = torch.randperm(len(images), generator=draw)
four = torch.cat([view * len(images) + order for view in range(4)])
own_scale = torch.empty(4 * len(images), dtype=torch.float64).uniform_(0.5, 2, generator=draw)


def along(x, per_row):
    return per_row.view(-1, *(1,) * (x.dim() - 1))


def shuffle(x):
    return x[:, torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(1))]


def rotate(x):
    normal = torch.randn(x.shape[1], x.shape[1], dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    return torch.einsum("nc...,dc->nd...", x, torch.linalg.qr(normal).Q)


changes = {
    "all times 3": lambda x: 3 * x,
    "each image\nits own scale": lambda x: x * along(x, own_scale),
    "add a\nconstant": lambda x: x + x.std(),
    "shuffle\nchannels": shuffle,
    "rotate": rotate,
    "order of\nimages (both)": lambda x: x[four],
}


# %%
def measure(name, student, teacher, batch):
    """One loss, with its own parameters as they were first drawn."""
    if name == "L_ss":
        return create_method("sskd")(student, teacher, batch)["ss"]
    count = len(batch.labels)
    student, teacher = (sskd.losses.method.first_rows(output, count) for output in (student, teacher))
    if name == "L_kd":
        return create_method("kd")(student, teacher, batch)["kd"]
    with torch.no_grad():
        return copy.deepcopy(made[name]).double()(student, teacher, batch)


def changed(output, change):
    parts = {
        name: change(getattr(output, name))
        for name in ("logits", "projection", "features")
        if getattr(output, name) is not None
    }
    return output._replace(**parts, maps=tuple(map(change, output.maps)))


table, index = {}, torch.arange(len(images))
for name in ("L_kd", "L_ss", *made):
    student, teacher = pairs[kinds.get(name, "post_relu")]
    before = measure(name, student, teacher, Batch(labels=images.labels, index=index))
    table[name] = {}
    for title, change in changes.items():
        both = title.startswith("order")
        place = order if both else index
        other = changed(teacher, change) if both else teacher
        batch = Batch(labels=images.labels[place], index=index[place])
        after = measure(name, changed(student, change), other, batch)
        table[name][title] = ((after - before).abs() / before.abs()).item()

# %%
blind = {title.replace("\n", " "): [n for n in table if table[n][title] <= 1e-6] for title in changes}
lab.show(
    lab.change_table(table, "Change of each loss when the student's output is changed like this"),
    alt="Which losses do not notice which change. "
    + " ".join(f"{title}: {', '.join(names) or 'none'}." for title, names in blind.items()),
)

# %% [markdown]
# **Look.** Rows with many zeros ask for little: a shape. Rows without a zero ask for the teacher's very
# numbers, and need an adapter to say them in.
#
# Adapters blur the picture. Most contain BatchNorm, which takes a common scale and shift out again but for the
# last digits; and as they were first drawn, which is how they stand here, they pass on little of what comes in.
# So a small entry there is no tolerance. In training the adapter moves too, and may undo any linear change,
# such as a rotation.
#
# One loss notices the order of the batch although both networks show the same images. Find its line in
# the table of section 1: it multiplies the error of each image by that of the *next* one.
#
# ## 3. What was really trained
#
# The papers trained on CIFAR-100 for 240 epochs. At that size two dozen methods are weeks of work on one
# GPU. This kit has a reduced version that was really run: two pairs of networks, few labels, several seeds.
# (These are recordings: whatever images this notebook started with, they are of the ones named here.)

# %%
import textwrap

runs = lab.zoo_runs()
names = list(dict.fromkeys(run["pair"] for run in runs))
accuracy = {pair: lab.by_method(runs, pair) for pair in names}
for pair in names:
    mine = [run for run in runs if run["pair"] == pair]
    told = {key: ", ".join(str(v) for v in dict.fromkeys(run[key] for run in mine)) for key in mine[0]}
    print(
        f"{pair}: {len(accuracy[pair])} methods, seeds {told['seed']}; {told['condition']} of {told['data']}"
    )
    print(f"  {told['images']} training images, {told['epochs']} epochs")
print(textwrap.fill(lab.zoo_command(), 100, subsequent_indent="    ", break_on_hyphens=False))

# %% [markdown]
# A seed draws the labelled images, the student's first weights and the order of the images, and is the same
# for all methods of a pair. The teacher is one for all seeds. The last epoch counts; none was chosen.
# (`benchmarks/README.md` tells of the teachers and their heads.)
#
# These are short trainings, and length decides. The tables of `docs/results.md`, with the same images and as many labels, have
# the gain of the four views over KD at nothing for 30 epochs, at about 6 points for 60 and at about 10 for 240.
# So what follows says how to read such a table, and which gaps *this* one shows; not who wins in the end.
#
# **Predict.** Twenty-odd methods, three seeds. Will the order of the methods be plain to see? Will it be the
# same for the two pairs?

# %%
mark = {m: f"{m} ×4" if create_method(m).needs.views == 4 else m for pair in names for m in accuracy[pair]}
values = {pair: {m: list(seeds.values()) for m, seeds in accuracy[pair].items()} for pair in names}
ends = {pair: sorted(rows, key=lambda m: np.mean(rows[m])) for pair, rows in values.items()}
lab.show(
    lab.method_rows(values, "accuracy, last epoch (%)", labels=mark),
    alt="Test accuracy of every method, dots for seeds, mean and 95 percent interval. "
    + " ".join(
        f"{pair}: from {ends[pair][0]}, {np.mean(values[pair][ends[pair][0]]):.1f} percent, to "
        f"{ends[pair][-1]}, {np.mean(values[pair][ends[pair][-1]]):.1f} percent."
        for pair in names
    ),
)

# %% [markdown]
# Small dots are single seeds, the ring their mean, the whisker its 95 % interval; an arrow says that it goes
# on outside. The order is that of the means on the left.
#
# The whiskers are long. With three seeds the interval is $\bar a \pm t_2\, s / \sqrt 3$, and $t_2 = 4.30$. In
# words: three runs say so little about their own spread $s$ that the interval must be two and a half times
# $s$ to each side. But some of that spread may be common to all methods: a seed with lucky images is lucky for
# everyone. Notebook 08 takes that out by **pairs**, and so do we.
#
# ## 4. Which gaps are larger than the noise?
#
# For each seed $s$ let $d_s$ be the accuracy of a method minus that of KD, and $\bar d \pm t_2\, s_d / \sqrt 3$
# its interval.

# %%
gaps = {pair: lab.paired(accuracy[pair]) for pair in names}
for pair in names:
    spread = [np.std(list(a.values()), ddof=1) for a in accuracy[pair].values()]
    of_gaps = [np.std(d, ddof=1) for d in gaps[pair].values()]
    half = [lab.interval(d)[1] for d in gaps[pair].values()]
    print(
        f"{pair}: spread between seeds, of the accuracy {np.median(spread):.2f},",
        f"of the difference to KD {np.median(of_gaps):.2f}",
    )
    print(
        f"  so half of all intervals are wider than ±{np.median(half):.2f} points (medians over the methods)"
    )

# %% [markdown]
# The last number is what this experiment can see. A gain of half of it may well be there; three seeds do not
# tell.
#
# **Look.** Two runs that share nothing differ with $\sqrt 2 = 1.41$ times the spread of one. Where the second
# number is not well below 1.41 times the first, a seed was not much the same luck for KD and its rivals, and
# pairs took little out.
#
# ### Many comparisons at once
#
# Each interval of 95 % misses the truth once in twenty times. Whoever draws $N$ of them expects $0.05\,N$ to
# leave zero out **although nothing is there**.
#
# **Predict.** Suppose that all methods were exactly as good as KD. How often would at least one of them be
# told "better" or "worse" than KD?

# %%
N, seeds = len(gaps[names[0]]), len(accuracy[names[0]]["kd"])
noise = np.random.default_rng(0).normal(size=(4000, N + 1, seeds))  # 4000 worlds in which no method matters
d = noise[:, 1:] - noise[:, :1]  # all share KD's runs
factor = lab.interval(range(seeds))[1] / np.std(range(seeds), ddof=1)  # t / √n
false = (np.abs(d.mean(2)) > factor * d.std(2, ddof=1)).sum(1)
print(f"expected by chance: 0.05 * {N} = {0.05 * N:.2f}; found in 4000 worlds: {false.mean():.2f} on average")
print(
    f"at least one in {np.mean(false > 0):.0%} of the worlds, {np.quantile(false, 0.95):.0f} or more in 5 %"
)

# %% [markdown]
# The comparisons are not independent: all of them subtract the *same* three runs of KD. One unlucky run of KD
# lifts everybody, so false findings come in flocks.
#
# Holm's correction (1979) holds for dependent comparisons too. Sort the $m$ $p$-values; the smallest must be
# below $0.05/m$, the next below $0.05/(m-1)$, and so on; stop at the first that is not. Here as that rule, and
# in the library as corrected $p$-values.
#
# **Predict.** How many diamonds and stars will the next figure have, on each side of zero?


# %%
def kept_by_holm(p_values, alpha):
    kept = []
    for place, name in enumerate(sorted(p_values, key=p_values.get)):
        if p_values[name] > alpha / (len(p_values) - place):
            break
        kept.append(name)
    return kept


p_values = {pair: {m: lab.p_value(d) for m, d in gaps[pair].items()} for pair in names}
corrected = {pair: lab.holm(p_values[pair]) for pair in names}
for pair in names:
    for alpha in (0.01, 0.05, 0.2, 0.5):
        assert set(kept_by_holm(p_values[pair], alpha)) == {
            m for m, p in corrected[pair].items() if p <= alpha
        }
    best = min(p_values[pair], key=p_values[pair].get)
    print(f"{pair}: smallest p {p_values[pair][best]:.2g} ({best}), corrected {corrected[pair][best]:.2g}")


# %%
def shape(pair, method):
    if corrected[pair][method] <= 0.05:
        return "corrected"
    return "different" if p_values[pair][method] <= 0.05 else ""


shapes = {pair: {m: shape(pair, m) for m in gaps[pair]} for pair in names}
count = {
    pair: [sum(s == kind for s in shapes[pair].values()) for kind in ("", "different", "corrected")]
    for pair in names
}
figure = lab.method_rows(gaps, "accuracy minus KD's (points)", shapes=shapes, labels=mark, level=0)
lab.shape_key(
    figure, {"": "contains 0", "different": "leaves 0 out, alone", "corrected": "leaves 0 out, after Holm"}
)
lab.show(
    figure,
    alt="Paired differences to KD with 95 percent intervals. "
    + " ".join(
        f"{p}: {a} contain zero, {b} leave it out alone, {c} after Holm's correction."
        for p, (a, b, c) in count.items()
    ),
)

# %%
for pair in names:
    print(f"{pair}: {len(gaps[pair])} comparisons, about {0.05 * len(gaps[pair]):.1f} expected by chance")
    for kind, words in (("corrected", "after Holm"), ("different", "alone")):
        for side, sign in (("above", 1), ("below", -1)):
            found = [m for m, d in gaps[pair].items() if shapes[pair][m] == kind and sign * np.mean(d) > 0]
            print(f"  {side} KD, {words}: {', '.join(mark[m] for m in found) or 'none'}")
    print(
        f"  not told apart from KD: {', '.join(mark[m] for m, s in shapes[pair].items() if not s) or 'none'}"
    )

# %% [markdown]
# "Not told apart" is no proof of equality; look at the width of each whisker.
#
# **Look.** Which methods stand at the top on the left and far below on the right? Find them on the map of
# section 1. What do the maps of `resnet20` and `resnet8` have in common that those of `vgg8` lack?
#
# ### Compute is part of the comparison
#
# A method marked ×4 sees four views of an image where KD sees one: about four times the work at the same
# number of epochs. Its fair opponent is one that has the same views. That is `kd+rotations`: soft targets on
# all four views, and nothing else.
#
# **Predict.** How much of a gap to KD is left against `kd+rotations`?

# %%
for pair in names:
    fair = {m: d for m, d in lab.paired(accuracy[pair], "kd+rotations").items() if mark[m] != m}
    rotations = gaps[pair]["kd+rotations"]
    print("{}: kd+rotations − kd {:+.2f} ± {:.2f}".format(pair, *lab.interval(rotations)))
    for m, d in fair.items():
        over_kd, over_rotations = (lab.interval(x) for x in (gaps[pair][m], d))
        print(
            "  {:14} − kd {:+.2f} ± {:.2f}".format(m, *over_kd),
            "  − kd+rotations {:+.2f} ± {:.2f}".format(*over_rotations),
        )

# %% [markdown]
# ### So is length
#
# Some of the methods were trained once more on the first pair, for 60 epochs instead of 24: the same teacher,
# images and seeds, and a schedule whose cuts come later in proportion.
#
# **Predict.** Which gaps to KD will be larger at 60 epochs, which smaller, and will one change its side?

# %%
from sskd_lib.lab.comparison.runs import LONGER

longer = lab.by_method(lab.zoo_runs(LONGER), names[0])
lengths = {
    "24 epochs": {m: gaps[names[0]][m] for m in longer if m != "kd"},
    "60 epochs": lab.paired(longer),
}
lab.show(
    lab.method_rows(lengths, "accuracy minus KD's (points)", labels=mark, level=0),
    alt="Paired differences to KD after 24 and after 60 epochs, with 95 percent intervals. "
    + " ".join(
        "{}: {:+.1f}, then {:+.1f}.".format(m, *(np.mean(rows[m]) for rows in lengths.values()))
        for m in lengths["60 epochs"]
    ),
)

# %% [markdown]
# **Look.** After 24 epochs one would have said: four views gain nothing, imitating maps gains nine points. After
# 60 epochs both gain, and SSKD stands beside the best of the others. Which whiskers have become shorter? And
# what may stand here after the papers' 240?
#
# ### Do the two pairs agree?
#
# Kendall's $\tau$ compares two orders: of all pairs of methods, the share that stands in the same order in
# both, minus the share that does not. 1 is the same order, 0 is chance.
#
# **Predict.** Before you look at two pairs of networks: how well will two *seeds* of the same pair agree?

# %%
from scipy.stats import kendalltau


def agreement(one, other, methods):
    return kendalltau([one[m] for m in methods], [other[m] for m in methods]).statistic


for title, keep in (
    ("all methods", mark),
    ("one view, with a teacher", [m for m in mark if mark[m] == m and m != "ce"]),
):
    common = [m for m in keep if all(m in accuracy[pair] for pair in names)]
    by_seed = {}
    for pair in names:
        rows = [
            {m: accuracy[pair][m][s] for m in common}
            for s in accuracy[pair]["kd"]
            if all(s in accuracy[pair][m] for m in common)
        ]
        by_seed[pair] = np.mean([agreement(a, b, common) for i, a in enumerate(rows) for b in rows[:i]])
    print(
        f"{title} ({len(common)}): seeds of one pair agree by",
        ", ".join(f"{t:.2f}" for t in by_seed.values()),
    )
    if len(names) > 1:
        means = [{m: np.mean(values[pair][m]) for m in common} for pair in names]
        print(f"  means of the pairs {names[0]} and {names[1]}: {agreement(*means, common):.2f}")

# %% [markdown]
# Two caveats. A few methods far from all others make any two orders agree; the second line leaves the
# plainest of them out. And two pairs cannot agree better than noise lets them: where seeds of one pair
# disagree, a disagreement of two pairs says nothing about networks.
#
# ## 5. The printed tables
#
# Now read the papers with these eyes. The kit has their figures with sources and warnings
# (`data/published.csv`). Group A used the teachers of CRD's authors, group B those of SSKD's.
#
# **Predict.** In print, how many of the methods lie above KD on average? In group B, how many would you
# expect?

# %%
from sskd_lib.reproduce.paper import FOOTNOTES, PAIRS, published


def printed(group, method, pair):
    found = [figure for figure in published(pair.kind, pair, method) if figure.group == group]
    return found[0] if found else None


def printed_gaps(group):
    gaps = {}
    for method in sskd.METHODS:
        both = [(printed(group, method, pair), printed(group, "kd", pair)) for pair in PAIRS]
        if method != "kd" and any(a and b for a, b in both):
            gaps[method] = [a.value - b.value for a, b in both if a and b]
    return gaps


print_gaps = {f"group {group}": printed_gaps(group) for group in "AB"}
lab.show(
    lab.method_rows(
        print_gaps, "printed minus KD's (points)", labels=mark, level=0, whiskers=False, missing="not printed"
    ),
    alt="Printed differences to KD, a dot for each of the paper's pairs. Mean over the pairs: "
    + " ".join(
        f"{group}: {', '.join(f'{m} {np.mean(d):+.1f}' for m, d in rows.items())}."
        for group, rows in print_gaps.items()
    ),
)

# %% [markdown]
# A dot is a pair of networks here, and the ring the mean over those that were printed. In group B nearly
# everything is above KD. Before you believe it:

# %%
for row in ("teacher", "ce", "kd", "crd"):
    both = [(printed("A", row, pair), printed("B", row, pair)) for pair in PAIRS]
    apart = [b.value - a.value for a, b in both if a and b]
    print(
        f"{row:8} B minus A on {len(apart)} pairs: {np.mean(apart):+.2f} on average,",
        f"from {min(apart):+.2f} to {max(apart):+.2f}",
    )

# %% [markdown]
# The teachers of group B are better on average, and so are its students without a teacher. And the KD of group
# B is that of group A, to both decimals, on every pair. A row that was run with these teachers could hardly
# be. So a gap to KD in group B is a gap between two experiments. This and the other traps, with the number of
# figures (of the methods here, on the paper's pairs) that fall into each:

# %%
figures = [figure for pair in PAIRS for m in sskd.METHODS for figure in published(pair.kind, pair, m)]
for key, text in FOOTNOTES.items():
    caught = sum(key in figure.notes for figure in figures)
    if caught:
        told = f"{caught:3} of {len(figures)}  {key}: {text}"
        print(textwrap.fill(told, 100, subsequent_indent=" " * 12))

# %% [markdown]
# ### Which printed gaps are larger than the noise?
#
# Most printed figures have no ±. Those that have one say how large the noise of a full-size run is; a
# difference of two figures has $\sqrt 2$ times as much, and twice that is a rough 95 % half width.

# %%
spreads = [
    f.spread
    for pair in PAIRS
    for m in sskd.METHODS
    for f in published(pair.kind, pair, m)
    if f.spread is not None
]
rough = 2 * math.sqrt(2) * np.median(spreads)
print(
    f"{len(spreads)} of {len(figures)} figures have a ±:",
    f"from {min(spreads):.2f} to {max(spreads):.2f}, median {np.median(spreads):.2f}",
)
print(f"rough half width of a difference: {rough:.2f} points")
for group, rows in print_gaps.items():
    print(group)
    for m, d in sorted(rows.items(), key=lambda row: -np.mean(row[1])):
        above, below = sum(x > rough for x in d), sum(x < -rough for x in d)
        print(
            f"  {mark.get(m, m):16} above KD by more on {above:2} of {len(d):2} pairs,",
            f"below by more on {below:2}, within on {len(d) - above - below:2}",
        )

# %% [markdown]
# "Above by more" means that seeds alone hardly make such a gap. It does not mean that the *method* makes it:
# teachers, four times the compute, the best epoch instead of the last (about 0.3 points in public logs) and
# more careful tuning of one's own method are all in it. And a gap within says nothing either way.
#
# What the paper claims of SSKD, in its own figures:

# %%
rivals = [m for m in print_gaps["group B"] if m != "sskd"]
for kind in ("similar", "cross"):
    here = [pair for pair in PAIRS if pair.kind == kind]
    best = [max(printed("B", m, pair).value for m in rivals if printed("B", m, pair)) for pair in here]
    ours, crd = ([printed("B", m, pair).value for pair in here] for m in ("sskd", "crd"))
    ahead = sum(a >= b for a, b in zip(ours, best, strict=True))
    print(
        f"{kind}: sskd highest or equal on {ahead} of {len(here)} pairs;",
        f"mean over crd {np.mean(ours) - np.mean(crd):+.2f} points",
    )

# %% [markdown]
# ### Under one roof
#
# On ImageNet (ResNet-34 → ResNet-18) one framework, torchdistill, ran several of the methods again: the same
# code around them, the same teacher.
#
# **Predict.** Do the gaps to KD stay, shrink or turn over?

# %%
from sskd_lib.reproduce.paper import IMAGENET_PAIR

roofs = {}
for m in sskd.METHODS:
    found = {figure.group: figure.value for figure in reversed(published("imagenet", IMAGENET_PAIR, m))}
    if {"published", "torchdistill"} <= found.keys():
        roofs[m] = found
for m, found in roofs.items():
    theirs, one_roof = (found[group] - roofs["kd"][group] for group in ("published", "torchdistill"))
    print(
        f"{m:9} published {found['published']:.2f}, {theirs:+.2f} to KD  ",
        f"one roof {found['torchdistill']:.2f}, {one_roof:+.2f} to KD",
    )

# %% [markdown]
# Single runs, as far as is known, and the recipe of the re-run is not always the paper's (SSKD's for ImageNet was never
# published). Still: a gap between two papers is not a gap between two methods.
#
# ## 6. Make your own
#
# Methods are data, joined with `+`: a base (`ce`, `kd`, `kd+rotations`, `sskd`) and further terms. A term that
# is itself made of soft targets takes the place of KD's.
#
# **Predict.** Which terms has `sskd+dkd`? And why can `dkd+dist` not be made?

# %%
for name in ("kd+sp", "sskd+dkd", "dkd+dist"):
    try:
        method = create_method(name)
        print(
            f"{name}: {method.needs.views} view(s), weight {method.recipe.kd:g} on L_kd, further:",
            method.plan(),
        )
    except ValueError as error:
        print(f"{name}: {error}")
print("other numbers:", create_method("dkd", dkd={"beta": 2.0}).plan())

# %% [markdown]
# Train a few of them: 300 labels, 10 epochs, seed 0 alone. That is a demonstration that they train, no comparison:
# with so few epochs the order means nothing, as section 4 should make you suspect.

# %%
few = kit.train.take(300, seed=0)
options = {"schedule": sskd.Schedule(epochs=10), "seed": 0, "runtime": kit.runtime, "evaluate_every": 10}
for method in ("kd", "kd+sp", create_method("dkd", dkd={"beta": 2.0}), "sskd+dkd"):
    method = create_method(method) if isinstance(method, str) else method
    network = sskd.create_network("resnet8", like=few, projection=method.needs_projection, seed=0)
    run = sskd.distill(network, networks["teacher"], few, kit.test, method=method, **options)
    print(f"{method.name:9} {run.summary['last']['test_accuracy']:5.1f} % of the test images right")

# %% [markdown]
# ### A term of your own
#
# A loss is a function of the student's and the teacher's output. Here is one to start from: compare the
# distances of all pairs of images. The cell below it tests what a relational loss should do.
#
# **Change** `mine` until all five lines say *yes*.


# %%
def mine(student, teacher):
    """student, teacher: features [N, D_S], [N, D_T] → a number, 0 where the student is as it should be."""
    return (torch.cdist(student, student) - torch.cdist(teacher, teacher)).square().mean()


# %%
def examine(loss):
    """Print yes or not yet for five properties; return how many hold."""
    f_t = torch.randn(16, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    f_s = torch.randn(16, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    at, close = loss(f_s, f_t), lambda a, b: bool((a - b).abs() <= 1e-6 * b.abs() + 1e-9)
    learner = f_s.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(learner, f_t), learner, allow_unused=True)
    found = {
        "works with different widths, above 0 for unlike networks": bool(at > 0),
        "0 for a student with the teacher's features": close(loss(f_t, f_t), torch.zeros_like(at)),
        "does not notice a rotation of the student's features": close(loss(rotate(f_s), f_t), at),
        "does not notice that the student's features are 3 times as long": close(loss(3 * f_s, f_t), at),
        "gives the student a gradient, without nan": slope is not None
        and bool(slope.isfinite().all() and slope.any()),
    }
    for text, holds in found.items():
        print(f"{'yes' if holds else 'not yet':8} {text}")
    return sum(found.values())


passed = examine(mine)

# %% [markdown]
# <details><summary>A solution</summary>
#
# ```python
# def mine(student, teacher):
#     far_s, far_t = (torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") for x in (student, teacher))
#     return (far_s / far_s.mean() - far_t / far_t.mean()).square().mean()
# ```
#
# Distances in units of their mean: this is the first half of RKD (Park et al. 2019).
#
# </details>
#
# With all five at *yes* it can join the zoo. A `Term` is a class with a name, the part of the outputs that it
# compares, a weight, and the loss in `forward`:


# %%
class Mine(sskd.losses.Term):
    name, inputs = "mine", "features"

    def __init__(self, weight=1.0):
        super().__init__(weight)

    def forward(self, student_output, teacher_output, batch):
        return mine(student_output.features, teacher_output.features)


method = sskd.losses.Sum("kd+mine", create_method("kd"), [Mine()])
network = sskd.create_network("resnet8", like=few, seed=0)
run = sskd.distill(network, networks["teacher"], few, kit.test, method=method, **options)
print(f"kd+mine: {run.summary['last']['test_accuracy']:.1f} % of the test images right (one seed)")

# %% [markdown]
# ### A table of your own
#
# One run decides nothing. `reproduce` trains every method of a table with several seeds and writes the file
# that section 3 reads. It stops and goes on at any time; `--dry-run` says what it would cost on this machine.
#
# ```sh
# python -m sskd_lib reproduce --table similar --data cifar10 --labels 1000 --epochs 60 --seeds 3 \
#     --pairs resnet20:resnet8 --methods kd dkd sskd sskd+dkd --out runs/mine --dry-run
# ```

# %% [markdown]
# ## Check yourself
#
# 1. A loss does not change when the student's features are rotated. Does it need an adapter where the widths
#    differ? Why?
# 2. KD with weight $1 - p^T_y$: what does a teacher that is sure of every training image hand on?
# 3. 25 methods are compared with KD, none of them better. How many 95 % intervals leave zero out on average?
#    With Holm's correction, what must the smallest $p$ be below?
# 4. A method with four views is 2 ± 1 points above KD. Name the next comparison to make.
# 5. A paper prints "KD 73.33, ours 76.20". Name three questions to ask.
#
# <details><summary>Answers</summary>
#
# 1. Hardly: what survives every rotation are lengths and angles between images, an $N \times N$ table for any
#    width.
# 2. Nearly nothing of how it ranks the other classes: their weight is close to 0 (a higher temperature helps).
# 3. $0.05 \cdot 25 = 1.25$, in flocks; $0.05/25 = 0.002$.
# 4. With KD on the same four views (`kd+rotations`).
# 5. Was KD run with this teacher? Last or best epoch, and how many seeds? The same views and compute?
#
# </details>
#
# ## What is claimed, what was measured
#
# | The papers claim | Measured here | Not tested here |
# |---|---|---|
# | SSKD is ahead of the methods before it, most of all across architectures | their printed figures counted: section 5; two pairs with few labels, against KD and with the same views: section 4 | CIFAR-100 at full size; their teachers |
# | A better pretext task makes a better student (SSKD's Table 2) | the pretexts that were run, each against the same views: section 4 | the pretexts' own quality |
# | Each later method is ahead of KD | the same runs: section 4 | tuning of each for this setting: weights are the published ones |
# | What a loss does not notice | all terms on one batch, by the number: section 2 | what trained adapters undo |
#
# ## Make
#
# * **Read your own table.** Train the plan above (or a part of it) and give its folder to
#   `lab.zoo_runs("../runs/mine")`. Which of section 4's sentences change?
# * **How many seeds?** Take $s_d$ of one method from section 4. For which $n$ is $t_{n-1} s_d / \sqrt n$ below
#   half a point?
#
# Next: [08 · The time machine](08_time_machine.ipynb).
# Before: [06 · Train on a GPU](06_train_on_gpu.ipynb).
