# %% [markdown]
# # 00 · Start here
#
# A large network, the **teacher**, has learned to name what is in an image. Two small networks, the
# **students**, learn from the same few images. One learns from the labels. The other gets no label at all: it
# only imitates the teacher's answers. From both we hide one class completely. The next cell trains them. This
# takes half a minute on a fast machine and several minutes on a slow one, and nothing moves meanwhile: read on.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()
missing = min(7, len(kit.test.classes) - 1)  # any class: change it
logits = lab.train_without_class(kit, missing)

# %%
lab.recall("00")

# %% [markdown]
# ## 1 · A class the student never saw
#
# Both students almost never answer the hidden class. No wonder. But do they know what it looks like? Add the
# same number, a **bias**, to the score of the hidden class for every test image. Raise it until as many images
# get that class as really show it. Which images will they be?

# %%
lab.predict("00-hidden")

# %%
explorer = lab.explore_missing_class(
    kit.test.images, kit.test.labels, logits, classes=kit.test.classes, missing=missing
)
whole = explorer.film[-1]  # as many images as really show the class
unlabelled = explorer.namings["soft targets only"][whole["fraction"]]
lab.reveal("00-hidden", unlabelled.missing_right, explorer.describe(**whole))

# %% [markdown]
# With the embedded images and sneakers hidden, the student without labels finds them far more often than blind
# choice does, though it never saw one. The student with labels hardly finds any. Where did the knowledge come from?
# From small numbers. For each image the teacher gives *every* class a probability: "this is a sandal, but a
# little like a sneaker". Hinton, Vinyals and Dean called this **dark knowledge**. Handing it to a small network is
# **knowledge distillation** (KD).
#
# **Try.** Do the task below the picture; scroll between slider and task. Then change `missing` in the first cell, and run the cells again.
#
# One class and one seed show little. So we hid every class of the embedded images, one after the other.

# %%
lab.predict("00-class")

# %%
means = lab.missing_class_means()
hard = min(("Trouser", "Shirt", "Ankle boot"), key=lambda name: means[name]["soft targets only"])
lab.reveal("00-class", hard)
print(lab.missing_class_table())

# %% [markdown]
# Labels alone find some images, too: what fits no known class may get the hidden one. Keep the table in mind:
# notebook 01 shows which classes are similar for the teacher.
#
# ## 2 · The idea of SSKD in one figure
#
# **SSKD** (Xu, Liu, Li and Loy, *Knowledge Distillation Meets Self-Supervision*, ECCV 2020,
# [arXiv 2006.07114](https://arxiv.org/abs/2006.07114)) asks the teacher more questions. It shows each image in
# four **views**: upright, and turned by 90, 180 and 270 degrees. And it also hands on which images the teacher
# finds similar to each other.

# %%
lab.show(
    lab.pipeline_figure(kit.train.take(10, seed=0).images),
    alt="Scheme of SSKD: images are turned into four views; a frozen teacher and a learning student see them; "
    "cross-entropy uses the student and labels alone, the other three terms compare student and teacher.",
)

# %% [markdown]
# Read it from left to right. The teacher is finished and does not change. Only the student learns. Four terms
# say how:
#
# - $L_{ce}$, cross-entropy: give the right label. This one needs no teacher.
# - $L_{kd}$, soft targets: on upright views, give the teacher's probabilities. This is classical KD.
# - $L_{T}$, the same on turned views. The code calls it `tf`, for *transformed*.
# - $L_{ss}$, self-supervision: find each turned view as similar to each upright image as the teacher does.
#
# The student minimises their weighted sum (Eq. 8 of the paper). Each $\lambda$ is a weight:
#
# $$L = \lambda_{ce} L_{ce} + \lambda_{kd} L_{kd} + \lambda_{T} L_{T} + \lambda_{ss} L_{ss}$$
#
# ## 3 · A short training
#
# Now three students learn from 300 labelled images and the shipped teacher, from the same first weights. `kd`
# uses $L_{ce}$ and $L_{kd}$. `kd+rotations` adds $L_T$. `sskd` adds $L_{ss}$ too. The **short schedule** is made
# for a laptop: 20 epochs in batches of 16, and a learning rate that rises and falls once.

# %%
lab.predict("00-first")

# %%
few = kit.train.take(max(300, 10 * len(kit.train.classes)), seed=0)
methods = ["kd", "kd+rotations", "sskd"]
students = [
    sskd.create_network("resnet8", like=few, projection=method == "sskd", seed=0) for method in methods
]
options = {"schedule": sskd.SHORT, "seed": 0, "runtime": kit.runtime, "evaluate_every": 4}
runs = sskd.distill(students, kit.teacher(), few, kit.test, method=methods, **options)
live = dict(zip(methods, runs, strict=True))

# %%
last = {method: run.summary["last"]["test_accuracy"] for method, run in live.items()}
lab.reveal("00-first", max(last, key=last.get))
lab.show(
    lab.learning_curves({method: run.history for method, run in live.items()}, title="Live: one seed"),
    alt="Test accuracy of three short runs. After the last epoch: "
    + ", ".join(f"{method} {value:.1f} percent" for method, value in last.items())
    + ".",
)
print(lab.read_outcome(kit, live, "sskd", "kd"))
print(lab.read_outcome(kit, live, "sskd", "kd+rotations"))

# %% [markdown]
# We report the **last** epoch. Picking the best epoch on the test images would flatter every method.
#
# One seed is a demonstration, not evidence. Another seed draws other images and other first weights. So the kit
# carries recorded runs. Each dot below is one seed, and both methods of a difference had the same images.

# %%
lab.predict("00-gain")

# %%
mean = {method: sum(runs.values()) / len(runs) for method, runs in lab.short_runs().items()}
lab.reveal("00-gain", mean["sskd"] - mean["kd+rotations"])
lab.show(
    lab.gap_figure(title="Recorded: embedded Fashion-MNIST, 300 labels, short schedule"),
    alt="Recorded differences of the short schedule, one dot per seed, with mean and 95 percent interval.",
)

# %% [markdown]
# Read the figure in two steps. The turned views bring a gain over KD. What $L_{ss}$ adds is the third row: look
# whether its interval contains zero. Notebook 04 takes this question up, with long trainings and other images.
#
# ## 4 · The notebooks
#
# | Notebook | Question | Time |
# |---|---|---|
# | [01 Vanilla KD](01_vanilla_kd.ipynb) | What do soft targets say that labels do not? Why the factor $\tau^2$? | 50 min |
# | [02 Rotation self-supervision](02_rotation_self_supervision.ipynb) | What can be learned from turned images without labels? | 35 min |
# | [03 Teacher similarity matrices](03_teacher_similarity_matrices.ipynb) | What does the teacher's $3B \times B$ matrix say, and where is it wrong? | 35 min |
# | [04 Selective transfer](04_selective_transfer.ipynb) | Which answers of the teacher are worth imitating? | 45 min |
# | [05 t-SNE of dark knowledge](05_dark_knowledge_tsne.ipynb) | Do students resemble their teacher inside? | 30 min |
# | [06 Training on a GPU](06_train_on_gpu.ipynb) | How to train at the paper's size, and what it costs | 15 min |
# | [07 A map of the methods](07_map_of_methods.ipynb) | What do two dozen methods compare? Write your own loss | 40 min |
# | [08 The time machine](08_time_machine.ipynb) | What do temperature and selection change, epoch by epoch? | 40 min |
# | [09 The evidence](09_evidence.ipynb) | Which gaps between methods are larger than the noise? | 30 min |
#
# Each runs alone from a fresh kernel, on two CPU cores in about two minutes. Read 01 to 04 in this order: 04
# needs 02 and 03. Short of time? Take 01, then 02.
#
# ## 5 · Notation
#
# | Symbol | In the code | Meaning |
# |---|---|---|
# | $x$, $B$ | `images`, uint8 `[B, C, H, W]` | a batch of $B$ images, as stored, 0 to 255 |
# | $v$ | `four_views(x)`, float `[4B, C, H, W]` | views: $B$ upright, then $B$ at 90°, 180°, 270° |
# | $f$ | `output.features`, `[N, D]` | what a network computes before its last layer |
# | $s_k$ | `output.logits`, `[N, K]` | the score of class $k$, one of $K$ classes |
# | $z$ | `output.projection`, `[N, D]` | what the projection head makes of $f$, for $L_{ss}$ |
# | $A$ | `similarity_matrix(…)`, `[3B, B]` | cosine of each turned view with each upright one |
# | $p_k$ | `soften(logits, temperature)` | probability of class $k$ |
# | $\tau$ | `kd_temperature`, `tf_temperature`, `ss_temperature` | temperature: scores are divided by it |
# | $\lambda$ | `ce`, `kd`, `tf`, `ss` | weights of the four terms |
# | share kept | `tf_keep_wrong`, `ss_keep_wrong` | share that is imitated of the rows the teacher gets *wrong* |
#
# ## 6 · Is this machine ready?

# %%
ready = lab.doctor()

# %% [markdown]
# Where something is wrong, the remedy is beside it. In a terminal: `python -m sskd_lib doctor`.
#
# **Other images.** `SSKD_DATASET=cifar10 make lab`, or `grocery`, `fashion-mnist`, `cifar100`, `folder:PATH`.
#
# **From a terminal,** the student of section 3:
#
# ```
# python -m sskd_lib distill --method sskd --labels 300 --schedule short --out runs/first \
#     --teacher data/weights/fashion-mnist/teacher_wrn_16_2.safetensors
# ```

# %%
lab.exit_ticket("00")

# %% [markdown]
# ## Check yourself
#
# 1. Which of the four terms need labels, and which need a teacher?
# 2. Why did the student without labels find the hidden class?
# 3. What does `kd+rotations` control for?
# 4. A friend trains KD and CE once each and finds KD 0.5 points ahead. What do you ask?
#
# <details><summary>Answers</summary>
#
# 1. Only $L_{ce}$ needs labels. $L_{kd}$, $L_T$ and $L_{ss}$ need a teacher. (Labels also decide which rows count as
#    wrong when some are dropped.)
# 2. The teacher's small probabilities on *other* images say how much each is like the hidden class.
# 3. It sees the same turned views. So a gain from more images is not mistaken for a gain from $L_{ss}$.
# 4. How many seeds, how large the spread is, and whether both had the same images.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper says | Measured here | Not tested |
# |---|---|---|
# | SSKD beats KD | yes, recorded, one short schedule (section 3) | the paper's networks and CIFAR-100 |
# | $L_T$ and $L_{ss}$ each help | most of the gain is there without $L_{ss}$ (section 3) | all labels, larger networks |
#
# ## Three lines to keep
#
# 1. A teacher's small probabilities carry knowledge that no label has.
# 2. SSKD asks the teacher about turned views, and hands on which images it finds similar.
# 3. One run shows how a method works; several paired seeds show whether it works.
#
# Next: [01 · Vanilla KD](01_vanilla_kd.ipynb)
