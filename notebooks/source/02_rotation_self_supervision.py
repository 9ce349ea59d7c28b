# %% [markdown]
# # 02 · Rotated views and a task without labels
#
# **What you need:** notebook 00, and the idea of a softmax with cross-entropy. No label is used here except
# to choose pictures.
#
# **Afterwards you can**
# * *list* what the four views of one image share and what each has to itself;
# * *state* the contrastive task: what a row is, what a column is, what counts as right, and what is not
#   asked;
# * *compute* the similarity matrix (Eq. 4) and the loss (Eq. 5) by hand and in loops;
# * *predict* the loss at chance and its floor, and *explain* why its curve looks flat;
# * *explain* why an accuracy of this task means nothing until you know $B$.
#
# **Time:** about 40 minutes to read and try; the cells take well under a minute together.
# **Hardware:** two CPU cores are enough.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %% [markdown]
# Self-supervision means: invent a task whose answers come for free, without labels. SSKD uses such a task
# as a second language in which the teacher can talk to the student. This notebook builds the task;
# notebooks 03 and 04 use it.

# %%
import math

import torch
import torch.nn.functional as F

from sskd_lib.data.views import rotate
from sskd_lib.losses import contrastive_floor, contrastive_loss, image_of_row, similarity_matrix

teacher = kit.teacher()

# %% [markdown]
# ## 1. Four views of one image
#
# For each image in a batch the kit makes four views: upright, and turned by 90°, 180° and 270°. Before
# that, chance does two things: it may **flip** the image left to right, and it **crops** it (four black
# pixels are added on each side, and a window of the old size is cut out somewhere).
#
# **Predict.** In a row of the next figure you see the four views of one image, as the networks get them,
# and then the same four turned back. Which of the two, flip and crop, is shared by the four views, and
# which is drawn for each view anew?

# %%
image = kit.test.images[kit.test.labels == kit.test.num_classes - 1][0]  # the first one of the last class
draws = 3
views = sskd.four_views(image.repeat(draws, 1, 1, 1), torch.Generator().manual_seed(2))
by_draw = views.unflatten(0, (4, draws)).transpose(0, 1)  # [draw, angle, C, H, H]

rows, titles = [], []
for four in by_draw:
    rows += [*four, *(rotate(view, -quarter_turns) for quarter_turns, view in enumerate(four))]
    titles += ["upright", "90°", "180°", "270°", "upright", "90° back", "180° back", "270° back"]
lab.show(
    lab.image_grid(torch.stack(rows), titles, columns=8),
    alt="Three draws of four views of one image, and the same views turned back: within a draw the four are "
    "flipped alike, but each is shifted differently.",
)

# %% [markdown]
# Within a row the turned-back views are all mirrored or all not: **one flip an image**. But each sits at a
# slightly different place: **one crop a view**. The angle is the same in every draw; nothing about it is
# random.
#
# The order of the rows in the tensor matters from here on. With $B$ images, `four_views` returns $4B$ rows:
#
# | rows | content | name in the equations |
# |---|---|---|
# | $0 \dots B-1$ | upright views | $z_j$ |
# | $B \dots 2B-1$ | turned by 90° | $\tilde z_i$ |
# | $2B \dots 3B-1$ | turned by 180° | $\tilde z_i$ |
# | $3B \dots 4B-1$ | turned by 270° | $\tilde z_i$ |
#
# So there are $B$ upright views and $R = 3B$ rotated ones, and rotated row $r$ shows image $r \bmod B$.

# %%
print("own image of each rotated row, B = 4:", image_of_row(rows=12, images=4).tolist())

# %% [markdown]
# ## 2. Black comes before normalisation
#
# A network does not see pixels in $[0, 1]$; it subtracts a mean and divides by a deviation first. Where
# should the border of a crop be added: before that, or after?
#
# **Predict.** What shade does a border of zeros have if it is added *after* the normalisation?

# %%
mean, std = teacher.mean.cpu()[0], teacher.std.cpu()[0]
pixels = image / 255
black_first = (F.pad(pixels, (4, 4, 4, 4)) - mean) / std
zeros_after = F.pad((pixels - mean) / std, (4, 4, 4, 4))
print("border value, black first:", [round(v, 2) for v in black_first[:, 0, 0].tolist()])
print("border value, zeros after:", [round(v, 2) for v in zeros_after[:, 0, 0].tolist()])

lab.show(
    lab.image_grid(
        torch.stack([x * std + mean for x in (black_first, zeros_after)]), ["black first", "zeros after"]
    ),
    alt="The same image with a border: black when it is added before normalisation, the mean shade of "
    "the data set when zeros are added after it.",
)

# %% [markdown]
# Zero *after* normalisation is the mean shade, a grey frame that says "here ends the image". The published
# code pads with black first, and so does the kit: views are made from bytes, and each network normalises
# for itself. (Pictures on a black ground hide their border altogether.)

# %% [markdown]
# ## 3. The task: which image is this?
#
# Take the $3B$ rotated views and the $B$ upright ones. For each rotated view the question is:
#
# > *Which of these $B$ upright images do you show?*
#
# The right answer, its **own image**, is known because we turned the images ourselves. Three remarks, since
# this is the part of the method that is most often misread:
#
# * It is **not** "by which angle was it turned?". That is another well-known task (four-way rotation
#   prediction). Here the angle is never asked; there are $B$ possible answers, not four.
# * The wrong answers (the *negatives*) are the **upright** views of the **other** images. Other rotated
#   views never appear as a column.
# * A network answers through a **projection** $z$: two linear layers with a ReLU between them (the *head*)
#   on top of its features $f$, $z = W_2\,\mathrm{ReLU}(W_1 f)$. Likeness is the cosine of two projections.
#
# Eq. (4) of the paper, for rotated view $i$ and upright view $j$:
#
# $$\mathcal{A}_{i,j} =
# \frac{\langle \tilde z_i, z_j \rangle}{\lVert \tilde z_i \rVert \, \lVert z_j \rVert}$$
#
# $\langle\cdot,\cdot\rangle$ is the dot product, $\lVert\cdot\rVert$ the length of a vector. $\mathcal{A}$
# has $3B$ rows and $B$ columns, and every entry lies between $-1$ and $1$.


# %%
@torch.no_grad()
def look(network, images, generator=None):
    """Output of a network for the 4B views of B images, on the CPU; augmented if there is a generator."""
    views = sskd.four_views(images, generator, augment=generator is not None)
    return kit.runtime.run(network, views.to(kit.runtime.device)).to("cpu")


batch = kit.test.take(4, seed=2)
B = len(batch)
z = look(teacher, batch.images).projection
print("projections:", list(z.shape), "= 4B rows of width D")

# %% [markdown]
# The naive version, in plain loops, and the library's, which does all of it in one matrix product:


# %%
def naive_similarity(rotated, upright):
    A = torch.empty(len(rotated), len(upright))
    for i in range(len(rotated)):
        for j in range(len(upright)):
            dot = sum(a * b for a, b in zip(rotated[i], upright[j], strict=True))
            A[i, j] = dot / (rotated[i].norm() * upright[j].norm())
    return A


A = similarity_matrix(z[B:], z[:B])
torch.testing.assert_close(naive_similarity(z[B:], z[:B]), A)
print("the loops and the library agree; A is", list(A.shape))

# %% [markdown]
# **Predict.** In each row of the figure the column of the own image has a solid black frame. A row is
# *right* if that column holds the row's largest cosine. Which pairs of these images would you mistake for
# each other if one of them lay on its side?

# %%
right = A.argmax(1) == image_of_row(3 * B, B)
lab.show(
    lab.similarity_picture(sskd.four_views(batch.images, augment=False), A),
    alt=f"Cosines of 12 rotated views with 4 upright images, the images drawn along the sides. "
    f"{int(right.sum())} of 12 rows have their largest cosine with their own image.",
)

# %% [markdown]
# A dashed frame shows the image that a wrong row was taken for.
#
# Chance has its say too: flip and crops move every view. Draw again, image by image, and see which pairs the
# head still recognises, now among 16 images. **Try:** does an image exist that it always finds?

# %%
sixteen = kit.test.take(16, seed=2)
projections, draws = lab.project_draws(teacher, sixteen.images, runtime=kit.runtime)
names = [sixteen.classes[label] for label in sixteen.labels]
lab.explore_views(sixteen.images, projections, draws=draws, names=names)

# %% [markdown]
# To *train* on this task, each row is treated like the logits of a classifier with $B$ classes whose right
# class is the own image $o(i) = i \bmod B$. This is Eq. (5) of the paper with the temperature $\tau = 1$,
# as in the published code; the mean runs over the $R = 3B$ rows:
#
# $$L_{\text{head}} = -\frac{1}{3B} \sum_{i}
# \log \frac{\exp(\mathcal{A}_{i,o(i)})}{\sum_{j=1}^{B} \exp(\mathcal{A}_{i,j})}$$


# %%
def naive_loss(A):
    rows, images = A.shape
    total = 0.0
    for i in range(rows):
        own = i % images
        total += -math.log(math.exp(A[i, own]) / sum(math.exp(a) for a in A[i]))
    return total / rows


loss, hits = contrastive_loss(z, B)
torch.testing.assert_close(torch.tensor(naive_loss(A)), loss)
print(f"loss {loss:.3f}, right rows {hits} of {3 * B}; the loop agrees")

# %% [markdown]
# ## 4. The head does it, not the backbone
#
# The teacher was trained to classify **upright** images. Then its backbone was frozen, and only the two
# layers of the head learned the contrastive task. Two measurements show what that means.
#
# **Predict.** (a) How well does the teacher *classify* an image that is turned? (b) How often would its
# features find the own image among 64 *without* a trained head? Chance is 1 in 64.

# %%
test = kit.test.take(1000)
seen = [look(teacher, x) for x, _ in test.batches(64)]
logits, projections, features = (
    torch.cat([getattr(output, name).unflatten(0, (4, -1)) for output in seen], 1)
    for name in ("logits", "projection", "features")
)  # each [4 angles, M images, width]
for angle, part in zip(("upright", "90°", "180°", "270°"), logits, strict=True):
    print(f"classified rightly, {angle:>7}: {100 * (part.argmax(1) == test.labels).float().mean():5.1f} %")


# %%
def accuracy(vectors, B):
    """Percent of the rotated views nearest to their own image. vectors: [4, M, D], in batches of B."""
    batches = [part.flatten(0, 1) for part in vectors.split(B, 1) if part.shape[1] == B]
    return 100 * sum(contrastive_loss(part, B)[1].item() for part in batches) / (3 * B * len(batches))


def fresh_head(seed=0):
    return sskd.create_network(teacher.spec["model"], kit.train, projection=True, seed=seed).head


with torch.no_grad():
    found = {
        "chance": 100 / 64,
        "features, no head": accuracy(features, 64),
        "untrained head": accuracy(fresh_head()(features), 64),
        "shipped head": accuracy(projections, 64),
    }
for name, value in found.items():
    print(f"{name:>18}: {value:5.1f} % of the rows right, B = 64")

# %% [markdown]
# The backbone never saw a rotated image in training, and its classifier is nearly lost on them. Yet the
# features hold more about a turned image than the classifier can use: a small head on the *same frozen
# features* finds the own image many times more often than chance. It is also far from always right, and
# notebook 03 is about that noise.

# %% [markdown]
# ## 5. Train a head yourself
#
# Because the backbone stands still, its features can be computed once, without a gradient, and the head
# then trains on stored vectors in seconds. Below: 800 training images, two random draws of views each. (The
# library's `train_head` draws new views in every epoch, which is better and takes longer.)

# %%
views_seed = torch.Generator().manual_seed(0)
few = kit.train.take(800, seed=0)
stored = torch.cat(
    [
        look(teacher, x, views_seed).features.unflatten(0, (4, -1))
        for _ in range(2)
        for x, _ in few.batches(64)
    ],
    1,
)
print("stored features:", list(stored.shape), "= angle, image, width")


# %%
def train(head, temperature=1.0, epochs=15, B=64):
    """Train a head on the stored features; returns one record an epoch."""
    optimizer = torch.optim.SGD(head.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    order, history = torch.Generator().manual_seed(0), []
    for _ in range(epochs):
        losses, shuffled = [], stored[:, torch.randperm(stored.shape[1], generator=order)]
        for part in shuffled.split(B, 1):
            z = head(part.flatten(0, 1))
            B_now = part.shape[1]
            A = similarity_matrix(z[B_now:], z[:B_now])
            loss = F.cross_entropy(A / temperature, image_of_row(3 * B_now, B_now))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            history.append(
                {"loss": sum(losses) / len(losses), "test": accuracy(head(features), B),
                 "train": accuracy(head(stored), B)}
            )  # fmt: skip
    return history


# %% [markdown]
# **Predict.** Before training the cosines tell nothing, so all $B = 64$ answers are equally likely. What is
# the loss then? And what is the *smallest* value that it could ever reach, if the head were perfect?

# %%
mine = fresh_head()
history = train(mine)
print("loss:", *(f"{h['loss']:.2f}" for h in history))

# %% [markdown]
# It falls by a few tenths and then crawls. Is the training broken? Compare the curve with the levels that
# matter:
#
# * **Chance:** all answers equal, $\log B$.
# * **Floor:** a cosine lies in $[-1, 1]$, so a perfect row has $1$ at the own image and $-1$ at all others.
#   With $\tau = 1$ even that row is not a certain answer: the loss is $\log\left(1 + (B-1)\,e^{-2}\right)$.
# * **Others at zero:** $-1$ to *all* others cannot be had at once when there are many. If unrelated images
#   are at right angles (cosine $0$), which is what a wide space allows, the loss is
#   $\log\left(1 + (B-1)\,e^{-1}\right)$.

# %%
levels = {
    "chance": math.log(64),
    "others at 0": math.log1p(63 * math.exp(-1)),
    "floor": contrastive_floor(64),
}
assert math.isclose(levels["floor"], math.log1p(63 * math.exp(-2)))
print({name: round(value, 2) for name, value in levels.items()})

epochs = range(1, len(history) + 1)
lab.show(
    lab.line_figure(
        epochs, {"loss": [h["loss"] for h in history]}, "epoch", "contrastive loss", levels=levels
    ),
    alt=f"The loss between its levels: chance {levels['chance']:.2f}, others at zero "
    f"{levels['others at 0']:.2f}, floor {levels['floor']:.2f}. The curve has little room.",
)

# %% [markdown]
# The whole range that a real head can use lies between the upper two lines. A barely falling loss is normal
# here; people have reported it as a bug. So look at what the task asks for instead, the share of right
# rows:

# %%
lab.show(
    lab.line_figure(
        epochs,
        {"training images": [h["train"] for h in history], "test images": [h["test"] for h in history]},
        "epoch",
        "right rows (%), B = 64",
        levels={"chance": 100 / 64},
    ),
    alt=f"Share of right rows on test images: {history[0]['test']:.0f} percent after the first epoch, "
    f"{history[-1]['test']:.0f} after the last, against a chance of {100 / 64:.1f} percent.",
)

# %% [markdown]
# While the loss seems to stand still, the head gets better and better. (One seed, few images; the shipped
# head was trained on far more images for longer.) The command that trains a head in full, on the teacher
# that `python -m sskd_lib teacher` made:
#
# ```
# python -m sskd_lib head --data fashion-mnist --teacher runs/teacher/teacher.safetensors --out runs/head
# ```
#
# `python data/make_weights.py fashion-mnist teacher` made the shipped one.

# %% [markdown]
# ## 6. The batch is part of the task
#
# The answers to choose from are the images of the batch. So $B$ is not a detail of the computation: it *is*
# the difficulty.
#
# **Predict.** Sketch the accuracy of one and the same head for $B = 4, 8, \dots, 256$, and chance beside
# it.

# %%
sizes = [4, 8, 16, 32, 64, 128, 256]
with torch.no_grad():
    curves = {
        "shipped head": [accuracy(projections, size) for size in sizes],
        "your head": [accuracy(mine(features), size) for size in sizes],
        "chance": [100 / size for size in sizes],
    }
lab.show(
    lab.line_figure(sizes, curves, "images in the batch, B", "right rows (%)", logarithmic="x"),
    alt=f"Accuracy of the shipped head falls from {curves['shipped head'][0]:.0f} percent at B = 4 to "
    f"{curves['shipped head'][-1]:.0f} at B = 256; chance falls from 25 to 0.4.",
)
for size, found, chance in zip(sizes, curves["shipped head"], curves["chance"], strict=True):
    print(f"B = {size:3}: {found:5.1f} %, {found / chance:5.1f} times chance")

# %% [markdown]
# The same network, the same images: only the number of rivals changes. An accuracy of this task without its
# $B$ is no statement, and a run with another batch size is a run of another task. The kit keeps $B = 64$,
# as published.

# %% [markdown]
# ## 7. Change one thing: a temperature
#
# The floor came from $\tau = 1$. Divide the cosines by a smaller $\tau$ before the softmax, and the same
# cosines can express more certainty: the floor becomes $\log(1 + (B-1)\,e^{-2/\tau})$.
#
# **Predict.** With $\tau = 0.1$: will the loss curve look less flat? Will more *rows* be right?

# %%
other = train(fresh_head(), temperature=0.1)
print(f"{'epoch':>5} {'loss, τ = 1':>12} {'loss, τ = 0.1':>14} {'right, τ = 1':>13} {'right, τ = 0.1':>15}")
for epoch in (1, 5, 10, 15):
    a, b = history[epoch - 1], other[epoch - 1]
    print(f"{epoch:5} {a['loss']:12.2f} {b['loss']:14.2f} {a['test']:11.1f} % {b['test']:13.1f} %")

# %% [markdown]
# The two losses cannot be compared with each other, since they measure different things; the shares of
# right rows can. Does the flat loss only *look* bad, or does the mild softmax also teach more slowly? Read
# it off the last two columns, and keep in mind that this is one seed and a short training. The kit stays
# with $\tau = 1$ because the published code does; the softening with $\tau = 0.5$ that you meet in notebook
# 03 is another step, the transfer to the student.

# %% [markdown]
# ## Check yourself
#
# 1. A batch holds 32 images. How many rows and columns has $\mathcal{A}$, and which column is the right one
#    for row 70?
# 2. A colleague says: "SSKD predicts the rotation angle." Correct it in one sentence.
# 3. The loss starts at 4.16 and is at 3.5 after training. With which $B$ does this fit? Is the training
#    broken?
# 4. Two papers report 60 % and 40 % on the contrastive task. What must you ask before you compare?
# 5. Why may the features of this section be stored once for the head, but not for a student that learns?
#
# <details><summary>Answers</summary>
#
# 1. 96 rows, 32 columns; row 70 shows image 70 mod 32 = 6.
# 2. It asks *which image* a rotated view shows, among the upright images of the batch; the angle is never
#    asked.
# 3. $\log 64 = 4.16$, so $B = 64$. No: with cosines and $\tau = 1$ the reachable range ends near 3.2. Look
#    at the accuracy.
# 4. The batch size (and whether the views were augmented).
# 5. The teacher's backbone is frozen, so its features do not change; a student's features change with each
#    step.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper claims | Measured here | Not tested here |
# |---|---|---|
# | A head on a frozen teacher can learn the contrastive task | Yes: far above chance, well below 100 % at $B = 64$ | How good a head gets with longer training |
# | A better self-supervised task gives a better student (its Table 2) | – | Other tasks: jigsaw, four-way rotation, exemplar. An independent re-run did not confirm the ranking |
# | Several transformations; rotation plays the main role (the authors, in an issue of their repository) | Rotation only, as in the published code | Views with changed colours or sizes |
#
# ## Make
#
# * **Harder negatives.** Build batches in which all images have the *same* class (use `kit.test.labels`)
#   and measure the accuracy again. Predict first by how much it falls.
# * **Another task.** Write the loss for four-way rotation prediction: a linear layer from the features to
#   four angles. Train it on `stored` and compare with chance, 25 %.
#
# Next: [03 · What the teacher's similarity matrix says](03_teacher_similarity_matrices.ipynb).
