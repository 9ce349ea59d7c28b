# %% [markdown]
# # 02 · Rotation self-supervision

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %%
teacher, test = kit.teacher(), lab.balanced_sample(kit.test, 768)
taught = lab.view_outputs(teacher, test, runtime=kit.runtime)  # logits, features, projections
lab.show_rotated_guesses(taught, test)

# %% [markdown]
# Above: six test images, with the class that the teacher gives and its confidence. Below: the same images,
# turned by 90°. On the embedded images, almost all turned clothes become a *Bag*, most sneakers a *Trouser* or a
# *Dress*. The mean confidence stays high, but at 90° the teacher is right about as often as a guess.
#
# It was trained on upright images only. Does it recognise nothing in a turned image? Its classifier cannot tell us.
# So we ask a different question, one that needs no label.
#
# **You need** notebook 00. **You will be able to** make the four views, compute the similarity matrix and the
# contrastive loss, and judge an accuracy on this task. **Time:** 35 minutes.

# %%
lab.recall("02")

# %% [markdown]
# ## 1 · Four views of one image
#
# The kit makes four **views** $v$ of each image $x$: upright, and turned by 90°, 180° and 270°. Two things are
# random: a **flip** (left to right), and a **crop** (four black pixels are added on each side, then a window of
# the old size is cut out). Each time, all of this is drawn again.

# %%
lab.predict("02-draw")

# %%
flip, crop = lab.shared_in_draws()  # measured in 50 draws
answer = "both" if flip and crop else "only the flip" if flip else "only the crop" if crop else "neither"
lab.reveal("02-draw", answer)
last_class = test.images[test.labels == test.labels.max()]
lab.show_draws(last_class[0])

# %% [markdown]
# Each row is one draw: four views, then the same views turned back. In one draw, all four are mirrored or none
# is. Each view has its own crop. The angles are never random.
#
# A batch of $B$ images becomes $4B$ rows, always in this order:
#
# | Rows | Views |
# |---|---|
# | $0 \dots B-1$ | upright |
# | $B \dots 4B-1$ | rotated: 90°, then 180°, then 270° |
#
# Of the $3B$ rotated views, view $i$ shows image $i \bmod B$.

# %%
import torch

lab.practise("four_views")


# %% tags=["exercise"]
def four_views(images):
    # BEGIN SOLUTION
    return torch.cat([torch.rot90(images, quarter, (2, 3)) for quarter in range(4)])
    # END SOLUTION


lab.check("four_views", four_views)

# %% [markdown]
# ## 2 · A question whose answer is free
#
# We turned the images ourselves. So for every rotated view we know the answer to this question:
#
# > *Which of these $B$ upright images does the view show?*
#
# Nobody asks for the angle: there are $B$ answers, not four. The wrong answers (*negatives*) are the upright views
# of the other images. No label is used.
#
# A network answers with a **projection** $z = W_2\,\mathrm{ReLU}(W_1 f)$. This small *head* works on the
# network's features $f$. The shipped teacher's head was trained on this question, with the rest frozen. The
# **similarity matrix** $A$ contains the cosine of each rotated view ($\tilde z_i$) with each upright view ($z_j$),
# Eq. (4) of the paper:
#
# $$A_{ij} = \frac{\langle \tilde z_i, z_j \rangle}{\lVert \tilde z_i \rVert \, \lVert z_j \rVert}$$
#
# It has $3B$ rows and $B$ columns. A row is **right** if its largest cosine is at its own image.

# %%
import torch.nn.functional as F

from sskd_lib.losses import contrastive_floor, image_of_row

lab.practise("similarity_matrix")


# %% tags=["exercise"]
def similarity_matrix(rotated, upright):
    # BEGIN SOLUTION
    return F.normalize(rotated, dim=1) @ F.normalize(upright, dim=1).T
    # END SOLUTION


similarity_matrix = lab.checked("similarity_matrix", similarity_matrix)

# %%
B = 4
batch = lab.balanced_sample(kit.test, B, seed=2)
z = lab.view_outputs(teacher, batch, runtime=kit.runtime).projection.flatten(0, 1)  # [4B, D]
A = similarity_matrix(z[B:], z[:B])
print("A is", list(A.shape))
right = int((A.argmax(1) == image_of_row(3 * B, B)).sum())
lab.show(
    lab.similarity_picture(sskd.four_views(batch.images, augment=False, window=batch.window), A),
    alt=f"Cosines of 12 rotated views with 4 upright images; {right} of 12 rows are right.",
)

# %% [markdown]
# A solid frame marks the own image. A dashed frame marks the image that a wrong row picks.
#
# Now 16 images with random flips and crops. Go through the draws of one image. Below the picture is a task.

# %%
sixteen = lab.balanced_sample(kit.test, 16, seed=2)
projections, draws = lab.project_draws(teacher, sixteen.images, runtime=kit.runtime)
names = [sixteen.classes[label] for label in sixteen.labels]
lab.explore_views(sixteen.images, projections, draws=draws, names=names)

# %%
lab.print_always_right(projections, batch=16)

# %% [markdown]
# Crop and angle decide too, not only the image.
#
# ## 3 · Is that good?
#
# Back to many images, in batches of $B = 64$. A guess is right in 1 of 64 rows. How much better is the teacher's
# trained head? And what does it have to beat?

# %%
lab.predict("02-second")


# %%
def random_network(seed):
    return sskd.create_network(teacher.spec["model"], kit.train, projection=True, seed=seed)


with torch.no_grad():
    untrained_head = [random_network(seed).head(taught.features) for seed in range(3)]
random = [lab.view_outputs(random_network(seed), test, runtime=kit.runtime).projection for seed in range(3)]
untrained = {
    "teacher's features, no head": taught.features,
    "teacher's features, untrained head (3 seeds)": untrained_head,
    "random network (3 seeds)": random,
}
right_rows = [sum(values) / len(values) for values in lab.several_rows_right(untrained).values()]
lab.reveal("02-second", right_rows.index(max(right_rows)))
lab.print_rows_right({"teacher's trained head": taught.projection} | untrained)

# %% [markdown]
# On the embedded images there are two surprises.
#
# * The head finds the right one of 64 images in about 40 % of the rows. So the teacher's features contain much
#   more about a turned image than its classifier shows.
# * The random network comes second: more than ten times as good as a guess, although it has learned nothing. The
#   teacher's features without a trained head are far worse. Training to classify has made them *less* useful
#   for this question.
#
# So "far above chance" says little. **Compare with an untrained network, not only with a guess.**
#
# ## 4 · Train a head
#
# Each row of $A$ is treated like the logits of a classifier with $B$ classes. The right class is the own image,
# $o(i) = i \bmod B$. This is Eq. (5), with temperature $\tau = 1$ in the published code:
#
# $$L_{\text{head}} = -\frac{1}{3B} \sum_{i}
# \log \frac{\exp(A_{i,o(i)} / \tau)}{\sum_{j=1}^{B} \exp(A_{ij} / \tau)}$$

# %%
lab.practise("contrastive_loss")


# %% tags=["exercise"]
def contrastive_loss(A, tau):
    # BEGIN SOLUTION
    rows, images = A.shape
    return F.cross_entropy(A / tau, torch.arange(rows) % images)
    # END SOLUTION


contrastive_loss = lab.checked("contrastive_loss", contrastive_loss)


# %%
def head_loss(z, tau=1.0):
    images = len(z) // 4
    return contrastive_loss(similarity_matrix(z[images:], z[:images]), tau)


print(f"the loss of this small batch: {head_loss(z):.3f}; of a guess: {torch.tensor(float(B)).log():.3f}")

# %% [markdown]
# The teacher is frozen. So its features are computed once, and a head trains on them in seconds: 800 training
# images, two random draws each, 15 epochs.
#
# Before training, all 64 answers are about equally likely, so the loss is near $\log 64 = 4.16$. How far down can
# it go?

# %%
lab.predict("02-floor")

# %%
simplex = torch.eye(64) - 1 / 64  # 64 vectors, as far apart as 64 vectors can be
print(f"largest cosine of two of them: {similarity_matrix(simplex, simplex).fill_diagonal_(-1).max():.4f}")
least = head_loss(simplex.repeat(4, 1))
print(f"their loss: {least:.4f}, floor: {contrastive_floor(64):.4f}")
lab.reveal("02-floor", least)

# %% [markdown]
# At best, any two of 64 vectors have the cosine $-1/63$. The floor is therefore
#
# $$\log\left(1 + (B-1)\, e^{-B/(B-1)}\right).$$

# %%
few, generator = lab.balanced_sample(kit.train, 800), torch.Generator().manual_seed(0)
stored = torch.cat(
    [lab.view_outputs(teacher, few, generator=generator, runtime=kit.runtime).features for _ in range(2)], 1
)
mine = random_network(seed=0).head
history = lab.train_on_features(mine, stored, head_loss, taught.features)
levels = {"guess": 100 / 64, "random network": sum(map(lab.rows_right, random)) / len(random)}
lab.show_head_training(history, levels | {"shipped head": lab.rows_right(taught.projection)})

# %% [markdown]
# So a loss that falls only from 4.16 to about 3.5 is normal. Watch the right rows instead. After this short
# training, your head may not even beat the random network. The shipped head was trained on more images, for
# longer.
#
# Train again, but with $\tau = 0.1$. Now the same cosines give a more certain answer.

# %%
lab.predict("02-sharp")

# %%
sharp = lab.train_on_features(
    random_network(seed=0).head, stored, lambda z: head_loss(z, tau=0.1), taught.features
)
more = sharp[-1]["test"] - history[-1]["test"]
words = f"Right rows: τ = 1 {history[-1]['test']:.1f} %, τ = 0.1 {sharp[-1]['test']:.1f} %."
lab.reveal("02-sharp", "a" if more > 2 else "b" if more < -2 else "c", words)

# %% [markdown]
# (One seed, and a short training. The kit keeps $\tau = 1$, as published.)
#
# ## 5 · The batch is part of the task
#
# The possible answers are the images of the batch. Take the same head and the same images, but other batches.

# %%
lab.predict("02-batch")

# %%
small, large = (lab.rows_right(taught.projection, size) for size in (4, 256))
lab.reveal("02-batch", "a" if large > small + 2 else "c" if large < small - 2 else "b")
with torch.no_grad():
    heads = {
        "shipped head": taught.projection,
        "your head": mine(taught.features),
        "random network": random[0],
    }
lab.show_batch_sizes(heads, sizes=[4, 8, 16, 32, 64, 128, 256])

# %% [markdown]
# The network has not changed; only the number of wrong answers has. An accuracy on this task means nothing
# without its $B$. The published code uses $B = 64$, and so does the kit.
#
# At $B = 64$, the shipped head is often wrong. **Which image does it pick then?** Any of the other 63, or one of a
# certain kind? Notebook 03 begins with this question.

# %%
lab.exit_ticket("02")

# %% [markdown]
# ## Check yourself
#
# 1. A batch has 32 images. What is the shape of $A$, and which column is right for row 70?
# 2. A colleague says: "SSKD predicts the rotation angle." Correct this in one sentence.
# 3. A head's loss goes from 4.16 to 3.5. What is $B$, and is the training broken?
# 4. A paper reports 25 % on this task. Which two questions do you ask?
#
# <details><summary>Answers</summary>
#
# 1. 96 rows and 32 columns. Row 70 shows image 70 mod 32 = 6.
# 2. It asks which upright image of the batch a rotated view shows; nobody asks for the angle.
# 3. $\log 64 = 4.16$, so $B = 64$. No: the floor is 3.17.
# 4. What is $B$? What does an untrained network reach?
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper says | Measured here | Not tested |
# |---|---|---|
# | A head on a frozen teacher learns the task (section 3.2) | The shipped head beats an untrained head, and a random network of the same shape | Longer training; a trained head on random features |
#
# ## Three lines to keep
#
# 1. The task is to find a rotated view's own image among the $B$ upright images of the batch.
# 2. Its loss can only fall from $\log B$ to $\log(1 + (B-1)\,e^{-B/(B-1)})$, so look at the right rows.
# 3. Compare an accuracy with the same $B$ and with an untrained network.
#
# Next: [03 · Teacher similarity matrices](03_teacher_similarity_matrices.ipynb).
