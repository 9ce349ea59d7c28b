# %% [markdown]
# # 05 · Dark knowledge in pictures: do students resemble their teacher inside?
#
# Two networks can give the same answers for different reasons. Here we look *inside*: at the features just before the
# last layer, and at the softened outputs, of the teacher and of four students. A **t-SNE** map makes a picture of
# them. Such pictures are persuasive, so half of this notebook is about what they hide, and about numbers that need
# no picture.
#
# | | |
# |---|---|
# | **You need** | softmax and temperature (notebook 01); features are the input of a network's last layer |
# | **You will be able to** | *explain* perplexity as a temperature; *compute* CKA by hand; *identify* what in a t-SNE map can be trusted; *diagnose* a claim that rests on a map alone |
# | **Time** | 40 minutes to read and try; about a minute to run on two CPU cores |
# | **Hardware** | any laptop |

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %% [markdown]
# ## 1 · Five networks look at the same images
#
# The shipped teacher, and students trained on labels (`ce`), with soft targets (`kd`), with soft targets on rotated
# views too (`kd+rotations`), and by the full method (`sskd`): one of each, seed 0. They look at 800 test images, the
# same number of each class, upright and turned by 90, 180 and 270 degrees. None of them was trained on these images.

# %%
import torch
from threadpoolctl import threadpool_limits

few = kit.test.take(800, seed=0)
classes, labels, M = few.classes, few.labels, len(few)
turned = torch.cat([sskd.data.views.rotate(few.images, quarter) for quarter in (1, 2, 3)])
names = ["teacher", "ce", "kd", "kd+rotations", "sskd"]
networks = {name: kit.teacher() if name == "teacher" else kit.student(name) for name in names}
upright = {name: sskd.predict(network, few, kit.runtime) for name, network in networks.items()}
rotated = {name: sskd.predict(network, turned, kit.runtime) for name, network in networks.items()}

for name in names:
    width = upright[name].features.shape[1]
    right = 100 * (upright[name].logits.argmax(1) == labels).float().mean()
    print(f"{name:13} features [{M}, {width:3}]   {right:.1f} % right")

torch.set_num_threads(1)  # from here on the sums are small, and threads would only wait for each other
_ = threadpool_limits(1)

# %% [markdown]
# ## 2 · What t-SNE does: a softmax for every point
#
# t-SNE (van der Maaten and Hinton 2008) first asks of each image $i$ which other images are its neighbours. The answer is
# a softmax over the squared distances of the features $f$:
#
# $$p_{j|i} = \frac{\exp(-\lVert f_i - f_j \rVert^2 / 2\sigma_i^2)}{\sum_{k \neq i} \exp(-\lVert f_i - f_k \rVert^2 / 2\sigma_i^2)}$$
#
# You know this from notebook 01: it is `soften`, with the negative squared distances for logits and $2\sigma_i^2$ for the
# temperature. Each point gets its own temperature, chosen so that the distribution has a fixed entropy $H$. The number
# $2^{H}$ is called **perplexity**: roughly, how many neighbours a point is to have. Then t-SNE moves points about on
# the plane until the neighbourhoods there fit these, with a Kullback-Leibler divergence for the misfit. (On the plane it
# uses a heavier tail than the exponential, so that points in the middle distance are not crushed together.)
#
# Below, the temperature of one image by bisection, and the distribution in plain loops.
#
# **Predict.** Perplexity 30 among 799 others: how many of them will hold 90 % of the probability: fewer than 30, about
# 30, or more?

# %%
import math


def neighbours_by_hand(features, i, temperature):
    powers = []
    for j in range(len(features)):
        squared = sum((a - b) ** 2 for a, b in zip(features[i], features[j], strict=True))
        powers.append(0.0 if j == i else math.exp(-squared / temperature))
    return [power / sum(powers) for power in powers]


f = upright["teacher"].features.double()
squared = ((f[0] - f[1:]) ** 2).sum(1)
low, high = 1e-3, 1e5
for _ in range(60):  # entropy grows with the temperature: halve the interval, on a logarithmic scale
    middle = math.sqrt(low * high)
    p = sskd.losses.soften(-squared[None], middle)[0]
    perplexity = 2 ** -(p * p.clamp(min=1e-300).log2()).sum().item()
    low, high = (middle, high) if perplexity < 30 else (low, middle)

by_hand = torch.tensor(neighbours_by_hand(f.tolist(), 0, middle), dtype=torch.float64)
torch.testing.assert_close(by_hand[1:], p)
hold = int((p.sort(descending=True).values.cumsum(0) < 0.9).sum()) + 1
print(f"temperature 2σ² = {middle:.2f} gives perplexity {perplexity:.2f}; {hold} neighbours hold 90 %")

# %% [markdown]
# ## 3 · Maps of the features
#
# One map a network, of the same 800 images, with perplexity 30, a fixed seed and the first two principal components to
# start from. A map may come out turned or mirrored, which means nothing, so `lab.align` lays each student's map over the
# teacher's: of all turns, mirrorings and shifts it takes the one with the least squared distance (orthogonal Procrustes).
# First a check, against trying 720 angles, with and without a mirror:

# %%
import numpy as np

features = {name: lab.embed(upright[name].features, seed=0, perplexity=30) for name in names}


def align_by_hand(a, b):
    a_centred, b_centred = a - a.mean(0), b - b.mean(0)
    best, misfit = None, math.inf
    for mirror in (1, -1):
        for angle in np.linspace(0, 2 * math.pi, 720, endpoint=False):
            turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            candidate = b_centred * [mirror, 1] @ turn
            if (now := ((a_centred - candidate) ** 2).sum()) < misfit:
                best, misfit = candidate + a.mean(0), now
    return best


tried, solved = (way(features["teacher"], features["sskd"]) for way in (align_by_hand, lab.align))
misfits = [((features["teacher"] - b) ** 2).sum() for b in (tried, solved)]
assert misfits[1] <= misfits[0] <= 1.001 * misfits[1]
print(f"best of 1,440 tries {misfits[0]:,.1f}, lab.align {misfits[1]:,.1f}")

# %% [markdown]
# **Predict.** Which classes will lie together in every map? Where will the images that the *teacher* gets wrong lie (they
# are ringed)? Which student's map will look most like the teacher's?

# %%
wrong = (upright["teacher"].logits.argmax(1) != labels).nonzero().flatten().tolist()
maps = {"Teacher": features["teacher"]}
for name, style in lab.styles(names[1:]).items():
    maps[style.label] = lab.align(features["teacher"], features[name])
lab.show(
    lab.scatter_tsne(maps, labels, classes, emphasise=wrong, columns=3),
    alt="t-SNE maps of the features of teacher and four students for the same 800 test images, aligned to the "
    f"teacher's; the {len(wrong)} images the teacher gets wrong are ringed.",
)
print(f"ringed: {len(wrong)} of {M} images that the teacher gets wrong")

# %% [markdown]
# **Look.** With the embedded images all five maps tell the same story: shoes, bags and trousers stand apart, and tops
# of all kinds run into each other; most rings lie where classes meet or inside the wrong one. Did one student look more
# like the teacher than the others to you? Keep your answer. Section 5 shows how much of such an impression the map
# itself invents.
#
# ## 4 · Maps of the softened outputs
#
# Now not the features but the $K$ probabilities, at temperature 1 and at 4.
#
# **Predict.** At which temperature will the map show more between the classes? Think of what is left of the unlikely classes
# at $\tau = 1$.

# %%
student = "sskd"  # or "ce", "kd", "kd+rotations"
label = lab.styles([student])[student].label
softened, outputs = {}, {}
for tau in (1, 4):
    softened[tau] = sskd.losses.soften(upright["teacher"].logits, tau)
    outputs[f"Teacher, τ = {tau}"] = lab.embed(softened[tau], seed=0, perplexity=30)
    copy = lab.embed(sskd.losses.soften(upright[student].logits, tau), seed=0, perplexity=30)
    outputs[f"{label}, τ = {tau}"] = lab.align(outputs[f"Teacher, τ = {tau}"], copy)
lab.show(
    lab.scatter_tsne(outputs, labels, classes, emphasise=wrong),
    alt=f"t-SNE maps of softened outputs of teacher and {student} student, at temperatures 1 and 4.",
)


# %%
def within_to_between(points):
    """Median distance of two images of a class, as a share of that of two images of different classes."""
    distances = torch.cdist(points, points)
    one_class = labels[:, None] == labels
    pairs = torch.ones_like(one_class).triu(diagonal=1)
    return 100 * (distances[pairs & one_class].median() / distances[pairs & ~one_class].median())


print("distances within a class, in per cent of those between classes (medians, teacher)")
for tau, p in softened.items():
    flat = torch.as_tensor(outputs[f"Teacher, τ = {tau}"])
    shares = [f"{within_to_between(points):5.1f} %" for points in (p, flat)]
    print(f"τ = {tau}   in the outputs {shares[0]}   on the map {shares[1]}")
sure = 100 * (softened[1].amax(1) > 0.99).float().mean()
print(f"at τ = 1 the teacher gives one class more than 99 % on {sure:.0f} % of the images")

# %% [markdown]
# **Look.** At $\tau = 1$ most images sit almost exactly on a corner, one class with all the probability, and images of a
# class are next to no distance apart; at $\tau = 4$ they are not. Yet on the two maps the classes look about equally
# wide: t-SNE gives every point about 30 neighbours, however near or far they are, and so the width of a group says
# nothing. What does show at $\tau = 4$ is that classes which the teacher holds alike move together. That is what a
# student of soft targets copies.
#
# ## 5 · What a map hides
#
# The *same* features of the teacher, four more times: with perplexity 5 and 100, and with a random start under two seeds. All maps
# are drawn at one size, because their own sizes differ wildly and mean nothing.
#
# **Predict.** Which will change more between these maps: who is next to whom, or which groups lie near each other?

# %%
x = upright["teacher"].features.numpy()
again = {
    "perplexity 30": features["teacher"],
    "perplexity 5": lab.embed(x, seed=0, perplexity=5),
    "perplexity 100": lab.embed(x, seed=0, perplexity=100),
}
for seed in (1, 2):
    again[f"random start, seed {seed}"] = lab.embed(x, seed=seed, perplexity=30, start="random")
again = {name: points / points.std() for name, points in again.items()}
again = {name: lab.align(again["perplexity 30"], points) for name, points in again.items()}
lab.show(
    lab.scatter_tsne(again, labels, classes, columns=3),
    alt="Five t-SNE maps of the teacher's features alone: three perplexities, and two random starts.",
)

# %% [markdown]
# Two measurements for each map, against the features themselves:
#
# - **neighbours kept**: of the 10 nearest images in feature space, the share that is among the 10 nearest on the map;
# - **order of far distances**: rank correlation between the distances of class centres on the map and in feature space. 1: the map
#   orders all pairs of groups rightly; 0: it says nothing of them.

# %%
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors


def nearest(points, k=10):
    return NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)


def shared(a, b):
    """Share of the nearest neighbours of each image that two sets of points have in common."""
    pairs = zip(nearest(a), nearest(b), strict=True)
    return np.array([len(set(i) & set(j)) / len(i) for i, j in pairs])


def between_centres(points):
    centres = torch.stack([torch.as_tensor(points)[labels == k].mean(0) for k in range(len(classes))])
    return torch.pdist(centres).numpy()


print(f"{'':24}{'neighbours kept':>16}{'order of far distances':>25}")
for name, points in again.items():
    order = spearmanr(between_centres(points), between_centres(x)).statistic
    print(f"{name:24}{100 * shared(x, points).mean():14.0f} %{order:25.2f}")

# %% [markdown]
# **Look.** A good part of the nearest neighbours survives, whatever the start. The places of whole groups may depend on the
# settings: compare the random starts with the first map. So in a t-SNE map
#
# - trust, with care: that images lie *together*, and which groups *touch*, if several maps agree;
# - do not trust: distances between groups, their sizes and densities, the axes, empty space.
#
# It follows that "student A's map looks more like the teacher's" is no finding. We need numbers on the features themselves.
# (For more examples: Wattenberg, Viégas and Johnson, *How to Use t-SNE Effectively*, Distill 2016.)
#
# ## 6 · An atlas to walk through
#
# Who is next to whom can be asked without a map. Take the six images whose outputs (or features) are nearest to those of
# one image. The atlas below shows a map, and beside it, for one image at a time, these six. A line leads to each of them: solid where
# the map has it among its six nearest too, dashed where the map has torn the two apart.
#
# Outputs are compared by the distance between their square roots. The reason: for outputs $p$ and $q$ that are near,
#
# $$\mathrm{KL}(p \,\|\, q) \approx 2 \sum_k \left(\sqrt{p_k} - \sqrt{q_k}\right)^2$$
#
# so "near" means near in the sense of the loss that distils. By hand, for one of 400 test images:

# %%
shown = kit.test.take(400, seed=0)
trio = {name: networks[name] for name in ("teacher", "kd", "sskd")}
atlas = lab.atlas_maps(trio, shown.images)  # shipped for these networks, else drawn once and kept


def nearest_by_hand(rows, i, count=6):
    gaps = []
    for j in range(len(rows)):
        squared = sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True))
        gaps.append((math.inf if j == i else squared, j))
    return [j for _, j in sorted(gaps)[:count]]


space = atlas.temperatures.index(4.0)
p = sskd.losses.soften(torch.as_tensor(atlas.logits[0]).double(), 4.0)  # the teacher's
first = nearest_by_hand(p.sqrt().tolist(), 0)
assert first == atlas.neighbours[0, space, 0].tolist()
q = p[first[0]]
divergence = (p[0] * (p[0] / q).log()).sum()
print(
    f"image 1 and its nearest: KL {divergence:.5f}, by square roots {2 * ((p[0].sqrt() - q.sqrt()) ** 2).sum():.5f}"
)

# %% [markdown]
# **Predict.** For an image that the teacher is unsure of: will its six nearest be of its own class? Where on the map will
# the errors lie, and where the outputs of high entropy?
#
# Then walk: step through the images with the arrow keys; slide **Mapped** from $\tau = 1$ to $\tau = 20$ and on to the
# features; change the model. Point at any dot to see its image and its nearest. In a kernel you can give `shown=` other
# image numbers, and `atlas_maps` networks that you have trained.

# %%
lab.explore_atlas(shown.images, atlas, labels=shown.labels, classes=classes)

# %% [markdown]
# The same counted over all 400 images, in quarters from the surest to the least sure. Then, for the students: of the six
# nearest in the teacher's outputs (or features), how many are also among the six nearest in the student's? The intervals cover
# the choice of images, not another training.

# %%
plain = sskd.losses.soften(torch.as_tensor(atlas.logits[0]).double(), 1.0)
unsure = -(plain * plain.log2()).nan_to_num().sum(1)  # entropy in bits
kinds, six = shown.labels.numpy(), atlas.neighbours.astype(int)
others = (kinds[six[0, space]] != kinds[:, None]).sum(1)
on_map = nearest(atlas.points[0, space], 6)
near = np.array([len({*a} & {*b}) for a, b in zip(six[0, space].tolist(), on_map.tolist(), strict=True)])
errors = (plain.argmax(1) != shown.labels).numpy()
print(f"{'teacher, T = 4':16}{'errors':>8}{'of 6 neighbours: of other classes':>36}{'near on the map':>18}")
for name, rows in zip(
    ("surest quarter", "second", "third", "least sure"), unsure.argsort().chunk(4), strict=True
):
    print(f"{name:16}{errors[rows].sum():8}{others[rows].mean():36.2f}{near[rows].mean():18.2f}")

# %%
common = {
    name: (six[0][..., None] == six[n][:, :, None, :]).any(3).sum(2) for n, name in enumerate(atlas.networks)
}
spaces = [f"T = {t:g}" for t in atlas.temperatures] + ["features"]
print(f"{'of 6 neighbours':16}{'kd':>6}{'sskd':>7}{'sskd minus kd, 95 % interval':>33}")
for name, kd, ours in zip(spaces, common["kd"], common["sskd"], strict=True):
    gap, half = (ours - kd).mean(), 1.96 * (ours - kd).std(ddof=1) / math.sqrt(len(kd))
    print(f"{name:16}{kd.mean():6.2f}{ours.mean():7.2f}{gap - half:+24.2f} to {gap + half:+.2f}")

# %% [markdown]
# **Look.** With the embedded images nearly all errors, and nearly all neighbours of other classes, belong to the quarter of
# which the teacher is least sure: there groups meet. The map loses some true neighbours everywhere, also of images that it
# shows deep inside a group. And the students keep only a part of the teacher's neighbourhoods, however alike their maps
# look. Does the table tell `kd` and `sskd` apart? An interval that holds zero does not.
#
# ## 7 · Numbers that need no map
#
# **CKA**, centred kernel alignment (Kornblith et al. 2019, Eq. 3), compares two networks without matching their features one
# by one, which could not be done: here the teacher's are wider. Write down for each network a table of how alike every two
# images are, $K_{ij} = \langle f_i, f_j \rangle$ with the mean feature taken away. CKA is the cosine between the teacher's table and the
# student's:
#
# $$\mathrm{CKA} = \frac{\sum_{ij} K_{ij} K'_{ij}}{\sqrt{\sum_{ij} K_{ij}^2}\ \sqrt{\sum_{ij} K_{ij}'^2}}$$
#
# It is 1 for equal tables, near 0 for unrelated ones. (You will recognise the thought: $L_{ss}$ compares tables of similarities, too.)


# %%
def table_by_hand(features):
    rows = features.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    rows = [[value - m for value, m in zip(row, mean, strict=True)] for row in rows]
    return [[sum(a * b for a, b in zip(r, q, strict=True)) for q in rows] for r in rows]


def cka_by_hand(a, b):
    dot = size_a = size_b = 0.0
    for row_a, row_b in zip(table_by_hand(a), table_by_hand(b), strict=True):
        for value_a, value_b in zip(row_a, row_b, strict=True):
            dot += value_a * value_b
            size_a += value_a**2
            size_b += value_b**2
    return dot / math.sqrt(size_a * size_b)


a, b = upright["teacher"].features[:60], upright["sskd"].features[:60]
torch.testing.assert_close(cka_by_hand(a, b), sskd.linear_cka(a, b), rtol=1e-6, atol=0)
print(f"60 images: by hand {cka_by_hand(a, b):.6f}, sskd.linear_cka {sskd.linear_cka(a, b):.6f}")

# %% [markdown]
# **Predict.** Order the four students by CKA with the teacher. Then: will two students be more alike than a student and the
# teacher?

# %%
likeness = [[sskd.linear_cka(upright[a].features, upright[b].features) for b in names] for a in names]
lab.show(
    lab.matrix_heatmap(likeness, names, title="Linear CKA of features, upright images", form=".2f"),
    alt="Linear CKA between the features of five networks. With the teacher: "
    + ", ".join(f"{name} {value:.2f}" for name, value in zip(names[1:], likeness[0][1:], strict=True)),
)

# %% [markdown]
# CKA is one measure of many, so here are others. On **upright** and on **turned** images: CKA; **agreement**, the share of images for
# which student and teacher name the same class; **distance**, the KD loss at $\tau = 4$ (smaller is nearer). On upright images
# also: **neighbours**, the share of an image's 10 nearest neighbours that teacher and student have in common. And two measures of how
# good the features are, whatever the teacher thinks: accuracy of **10 nearest neighbours** and of a **linear probe** (logistic regression),
# both fitted to four fifths of these images and tested on the last fifth, in turn.
#
# **Predict.** On turned images, which students will be nearer to the teacher: those that saw turned images in training?

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def likeness_to_teacher(outputs, name, rows=slice(None)):
    """CKA, agreement in percent and distance between a student and the teacher on some rows."""
    student, teacher = outputs[name], outputs["teacher"]
    return {
        "CKA": sskd.linear_cka(student.features[rows], teacher.features[rows]),
        "agreement": sskd.agreement(student.logits[rows], teacher.logits[rows]),
        "distance": sskd.losses.kd_loss(student.logits[rows], teacher.logits[rows], 4.0).item(),
    }


probes = {
    "10 nearest": KNeighborsClassifier(10),
    "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
}

# %%
print(f"{'':13}{'upright':>18}{'':>17}{'turned':>15}")
print(
    f"{'':13}"
    + 2 * f"{'CKA':>9}{'agree':>9}{'distance':>10}"
    + f"{'neighbours':>13}{'10-NN':>9}{'linear':>9}"
)
for name in names:
    line = f"{name:13}"
    for outputs in (upright, rotated):
        near = likeness_to_teacher(outputs, name)
        line += f"{near['CKA']:9.3f}{near['agreement']:8.1f}%{near['distance']:10.2f}"
    line += f"{100 * shared(x, upright[name].features.numpy()).mean():12.0f}%"
    for probe in probes.values():
        scores = cross_val_score(probe, upright[name].features.numpy(), labels.numpy(), cv=5)
        line += f"{100 * scores.mean():8.1f}%"
    print(line)

# %% [markdown]
# Some of these differences are small. Would they be there with other test images? Draw 800 images with replacement, 200 times, and
# take the difference each time (a **bootstrap**): the middle 95 % is the interval. Where it holds zero, these images do not tell the
# two students apart.
#
# **Predict.** Does `sskd` lie nearer to the teacher than `kd`? And than `kd+rotations`? Say it for upright and for turned images.

# %%
generator = torch.Generator().manual_seed(0)
draws = [torch.randint(M, (M,), generator=generator) for _ in range(200)]


def redrawn(outputs, name):
    """Likeness to the teacher in each draw, [draws, 3]; the three turned views of an image go together."""
    found = []
    for draw in draws:
        rows = draw if outputs is upright else torch.cat([draw, draw + M, draw + 2 * M])
        found.append(list(likeness_to_teacher(outputs, name, rows).values()))
    return np.array(found)


sets = {"upright": upright, "turned": rotated}
likenesses = {(word, n): redrawn(outputs, n) for word, outputs in sets.items() for n in names[2:]}

# %%
print(f"{'sskd minus':14}{'images':9}{'measure':11}{'95 % interval':>20}   sskd is")
for other in ("kd", "kd+rotations"):
    for word in sets:
        gaps = likenesses[word, "sskd"] - likenesses[word, other]
        for measure, gap in zip(("CKA", "agreement", "distance"), gaps.T, strict=True):
            low, high = np.percentile(gap, [2.5, 97.5])
            nearer = high < 0 if measure == "distance" else low > 0
            verdict = "not told apart" if low <= 0 <= high else "nearer" if nearer else "farther"
            print(f"{other:14}{word:9}{measure:11}{low:+9.3f} to {high:+8.3f}   {verdict}")

# %% [markdown]
# ## 8 · An honest reading
#
# **Do students trained by SSKD lie nearer to the teacher?** Read the table above line by line before you read on.
#
# - *In their answers, yes, and for a plain reason.* On turned images the students that learned from turned images give more of the
#   teacher's answers than `kd` does. The control `kd+rotations` has this without $L_{ss}$, so it is no proof of self-supervision.
# - *In their features, not in general.* With the embedded images plain `kd` has the highest CKA with the teacher on upright images.
#   Two possible reasons, not tested here: a student that must also serve turned views has the same 64 features to do it with, and
#   $L_{ss}$ acts on the projections behind the features, not on the features themselves. With the CIFAR-10 students (1,000 labels)
#   it is the other way: there `sskd` is nearer to the teacher than `kd` by every line of the table, and so is the control.
# - *Twelve lines, twelve chances to be fooled.* Of twelve intervals at 95 % one may well miss zero by luck. A lone verdict
#   against its neighbours deserves doubt.
# - *Likeness is not quality.* Compare CKA with the probes: nearer features need not be better ones.
# - *One student a method.* The bootstrap covers the choice of test images, not another seed of training. To claim a difference between
#   **methods** one needs several students of each, as in the recorded runs of notebook 04.
#
# The students for the embedded images saw all 60,000 training images of their source, for 20 epochs; those for CIFAR-10 saw 1,000, for 240 epochs.
# Few labels are where distillation matters most: try `SSKD_DATASET=cifar10`. (`data/make_weights.py` trains all of them anew.)
#
# **Change.** Set `student` in section 4 to another one. Take 400 images. Replace the features by the logits in the CKA table: who is nearest now?
#
# ## Check yourself
#
# 1. What are the "logits", and what is the "temperature", in t-SNE's first step?
# 2. On two maps of the same features the groups change places. What does that say about the network?
# 3. Why can CKA compare 128 features with 64?
# 4. A paper shows two t-SNE maps and writes "our student is closer to the teacher". What do you ask for?
# 5. Why are the three turned views of an image drawn together in the bootstrap?
#
# <details><summary>Answers</summary>
#
# 1. Negative squared distances to the other points, and $2\sigma_i^2$, chosen for each point so that the perplexity comes out right.
# 2. Nothing: the features are the same. The places of far groups depend on settings and start.
# 3. It compares tables of similarities between *images*, and these have one row and one column an image for any width.
# 4. A number on the features or outputs themselves (CKA, agreement, KL divergence), with an interval, over several seeds, and a control.
# 5. They are not independent: one hard image makes three hard views. Drawing them one by one would make the interval too narrow.
#
# </details>
#
# | What the paper claims | What was measured here | What was not tested |
# |---|---|---|
# | t-SNE maps of students' features are part of its evidence (Fig. 3a, not at hand here) | all students' features show their classes as groups; a map cannot rank students (section 5) | the paper's networks, CIFAR-100 |
# | SSKD's student is the most similar to the teacher: smallest KL divergence, largest CKA (its Table 6, known here only from a summary, without values) | outputs and features on upright and turned images: the table of section 7, and its intervals | several training seeds; CKA of other layers |
# | Self-supervision is what adds to KD | where `sskd` is nearer than `kd` in section 7, the control `kd+rotations` without $L_{ss}$ is about as near | students of several seeds |
#
# ## Make
#
# 1. **Two students, one method.** Train two `resnet8` by `kd` on 300 labels with seeds 0 and 1 (notebook 00 shows how). What is *their* CKA with
#    the teacher and with each other? How does the gap between two seeds compare with the gaps in section 7?
# 2. **A better picture.** Place the class *centres* on a plane with `sklearn.manifold.MDS`, which tries to keep all distances, not only
#    the neighbourhoods. Does it order the groups better than t-SNE, by the measure of section 5?
#
# Next: [06 · Train on a GPU](06_train_on_gpu.ipynb)
