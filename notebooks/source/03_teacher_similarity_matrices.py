# %% [markdown]
# # 03 · What the teacher's similarity matrix says
#
# **What you need:** notebook 02: four views, the contrastive task, the matrix $\mathcal{A}$ with $3B$ rows
# and $B$ columns.
#
# **Afterwards you can**
# * *read* a $3B \times B$ similarity matrix: right rows, wrong rows, and what a wrong row was taken for;
# * *compute* a row's softened distribution and say how sharp it can get at a temperature;
# * *describe* the teacher's noise by error rank, angle and class, and *explain* why a rank belongs to a
#   batch and not to an image;
# * *compare* a student's matrix with its teacher's, and *compute* the loss $L_{ss}$ between them in loops.
#
# **Time:** about 40 minutes to read and try; the cells take well under a minute together.
# **Hardware:** two CPU cores are enough.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %%
import torch

from sskd_lib.losses import error_rank, image_of_row, selected_kl, similarity_matrix

teacher = kit.teacher()
ANGLES = ("90°", "180°", "270°")


@torch.no_grad()
def look(network, images):
    """Output of a network for the 4B unaugmented views of B images, on the CPU."""
    views = sskd.four_views(images.to(kit.runtime.device), augment=False)
    return kit.runtime.run(network, views).to("cpu")


def matrix(output, B):
    """Similarity matrix [3B, B] of the 4B projections."""
    return similarity_matrix(output.projection[B:], output.projection[:B])


# %% [markdown]
# ## 1. One real batch
#
# Twelve test images give $3 \cdot 12 = 36$ rotated views (rows) and 12 upright views (columns). The entry
# in row $i$, column $j$ is the cosine of their projections by the teacher (Eq. 4 of the paper).
#
# **Predict.** Row $i$ belongs to column $i \bmod 12$, its own image. What would the three blocks look like
# for a perfect teacher? What for one that looks at the class only, and not at the image?

# %%
B = 12
batch = kit.test.take(B, seed=0)
A = matrix(look(teacher, batch.images), B)
own = image_of_row(3 * B, B)
right = A.argmax(1) == own
lab.show(
    lab.similarity_heatmap(A, own, "Teacher"),
    alt=f"Similarity matrix of 36 rotated views and 12 upright images in three blocks, one an angle. "
    f"{int(right.sum())} of 36 rows are brightest at their own image.",
)

# %% [markdown]
# A square marks the own image of a right row, a cross the own image of a wrong one. Read it row by row:
#
# * A **right** row is brightest on the diagonal.
# * A **wrong** row is brighter somewhere else: the teacher mistook the view for another image.
# * **Bright cells off the diagonal** are not mistakes as such. They say which images the teacher finds
#   alike, and the whole row will be passed on to the student, not only its winner.

# %% [markdown]
# ## 2. Single rows, with their images
#
# Now with the images beside the numbers. Below are rows of the same matrix: first one that is right, then
# wrong ones, the worst last.
#
# **Predict.** Cover the numbers. For each view on the left: which image on top would you choose?

# %%
rank = error_rank(A, own)  # how many columns beat the own one
wrong = [row for row in rank.argsort(stable=True).tolist() if rank[row] > 0]
chosen = [int(rank.argmin()), *wrong[:: max(1, len(wrong) // 4)][:4], *wrong[-1:]]
rows = list(dict.fromkeys(chosen))
lab.show(
    lab.similarity_picture(sskd.four_views(batch.images, augment=False), A, rows),
    alt=f"{len(rows)} rows of the matrix with their rotated view on the left and the 12 upright images on top. "
    "A solid frame marks the own image, a dashed one what the view was taken for.",
)
for row in rows:
    taken = int(A[row].argmax())
    print(
        f"row {row:2} ({ANGLES[row // B]:>4}), {batch.classes[batch.labels[row % B]]}: error rank {rank[row]}, "
        + ("right" if rank[row] == 0 else f"taken for image {taken}, {batch.classes[batch.labels[taken]]}")
    )

# %% [markdown]
# The solid frame is the own image, the dashed one what the view was taken for. The **error rank** counts
# the columns that lie above the own one: 0 is right, 1 means one image was preferred, and so on.

# %% [markdown]
# ## 3. From a row to a distribution
#
# What the student will imitate is not the row of cosines but a distribution made of it, at a temperature
# $\tau$:
#
# $$\mathcal{B}_{i,j} = \frac{\exp(\mathcal{A}_{i,j} / \tau)}{\sum_{k=1}^{B} \exp(\mathcal{A}_{i,k} / \tau)}, \qquad \tau = 0.5$$
#
# $\mathcal{B}_{i,j}$ says how likely it is, for this network, that view $i$ shows image $j$; each row sums
# to 1.
#
# **Predict.** Cosines lie between $-1$ and $1$. How many times as likely can the best column be as the
# worst one, at most: with $\tau = 1$, with $\tau = 0.5$?


# %%
def naive_soften(row, temperature):
    grown = [torch.exp(a / temperature) for a in row]
    return torch.stack([g / sum(grown) for g in grown])


for row in A[:5]:
    torch.testing.assert_close(naive_soften(row, 0.5), sskd.losses.soften(row, 0.5))
print("the loop and the library agree")
for temperature in (2.0, 1.0, 0.5):
    most = torch.tensor(2 / temperature).exp()
    print(f"τ = {temperature:3g}: best at most {most:.4g} times as likely as worst")

# %%
row = rows[0]
names = [f"image {j}" for j in range(B)]
view = sskd.four_views(batch.images, augment=False)[B + row]
lab.show(
    lab.soft_targets(view, A[row], names, temperatures=(1, 0.5, 0.1)),
    alt=f"Row {row} as a distribution over 12 images at the temperatures 1, 0.5 and 0.1: the smaller the "
    "temperature, the more of it falls on one image.",
)

# %% [markdown]
# (The figure writes $T$ for the temperature.) With $\tau = 0.5$ the distribution stays broad, whatever the
# row. Keep this in mind for notebook 04: differences between such broad distributions are small numbers, so
# $L_{ss}$ is a small number and carries a large weight.

# %% [markdown]
# ## 4. The teacher's noise
#
# One batch is an anecdote. Here are the ranks in many batches of $B = 64$, the size used in training.
#
# **Predict.** What share of the rows is right? Which angle is the hardest? If the teacher guessed, what
# would the curve look like?

# %%
B = 64
test = kit.test.take(1000)
batches = [(x, y) for x, y in test.batches(B) if len(x) == B]
outputs = [look(teacher, x) for x, _ in batches]
ranks = torch.stack([error_rank(matrix(out, B), image_of_row(3 * B, B)) for out in outputs]).view(-1, 3, B)
# ranks: [batch, angle, image]
print(f"{ranks.numel()} rows in {len(ranks)} batches; {100 * (ranks == 0).float().mean():.1f} % are right")

# %%
places = list(range(21))
curves = {
    angle: [100 * (ranks[:, k] <= r).float().mean().item() for r in places] for k, angle in enumerate(ANGLES)
}
curves["guessing"] = [100 * (r + 1) / B for r in places]
lab.show(
    lab.line_figure(places, curves, "error rank", "rows with at most this rank (%)"),
    alt="Share of rows with at most a given error rank, by angle. At rank 0: "
    + ", ".join(f"{angle} {curves[angle][0]:.0f} percent" for angle in ANGLES)
    + f", guessing {curves['guessing'][0]:.1f} percent.",
)
for angle in ANGLES:
    c = curves[angle]
    print(
        f"{angle:>4}: right {c[0]:4.1f} %, rank at most 5 {c[5]:4.1f} %, rank above 20 {100 - c[20]:4.1f} %"
    )

# %% [markdown]
# So the teacher is wrong on many rows, mostly by a little, now and then badly. That is what the paper calls
# noise, and what notebook 04 deals with.
#
# ### By class
#
# **Predict.** Which classes look alike whichever way they are turned? Which are lost when they lie on their
# side?

# %%
labels = torch.stack([y for _, y in batches])  # [batch, image]
share = torch.stack(
    [100 * (ranks == 0).float().transpose(1, 2)[labels == k].mean(0) for k in range(test.num_classes)]
)  # [class, angle]
order = share.mean(1).argsort(descending=True).tolist()
order = order if len(order) <= 12 else order[:6] + order[-6:]  # many classes: the six best and worst
names = [test.classes[k] for k in order]
by_angle = {angle: share[order, k].tolist() for k, angle in enumerate(ANGLES)}
lab.show(
    lab.mark_figure(names, by_angle, "right rows (%), B = 64", levels={"guessing": 100 / B}),
    alt=f"Right rows by class and angle: most for {names[0]}, fewest for {names[-1]}.",
)
count = labels.numel() / test.num_classes
print(f"a mark stands for about {count:.0f} rows; chance moves it by about ± {100 / count**0.5:.0f} points")

# %% [markdown]
# Do not read too much into single marks, their number of rows is small. And two things mix here: how well
# the teacher recognises a *turned* image of a class, and how many *rivals* of the same class stand in the
# batch. Are the mistakes blind, or are they good guesses? Look at the class of the image that a wrong row
# was taken for:

# %%
same, by_chance = 0.0, 0.0
for out, y in zip(outputs, labels, strict=True):
    taken = matrix(out, B).argmax(1)
    own = image_of_row(3 * B, B)
    missed = taken != own
    same += (y[taken] == y[own])[missed].sum().item()
    rivals = (y[own][:, None] == y[None, :]).sum(1) - 1  # others of the own class, among 63 others
    by_chance += (rivals / (B - 1))[missed].sum().item()
total = (ranks > 0).sum().item()
print(f"wrong rows taken for an image of the same class: {100 * same / total:.0f} %")
print(f"if mistakes were blind:                          {100 * by_chance / total:.0f} %")

# %% [markdown]
# A wrong row is not an empty row. Part of what it says, "this one is like those", is true, and that is why
# throwing *all* wrong rows away would waste knowledge.
#
# ### A rank belongs to a batch
#
# The rivals are the other images of the batch. Put the same view among other rivals, and its rank changes.
#
# **Predict.** Take three views and put each of them among 63 random others, 300 times. Will each view be
# always right or always wrong?

# %%
z = torch.stack([out.projection.view(4, B, -1) for out in outputs], 1).flatten(1, 2)  # [angle, image, D]
cosines = similarity_matrix(z[1], z[0])  # views at 90° against every upright image
strength = (cosines < cosines.diagonal()[:, None]).float().mean(1)  # share of all images that it beats
draw = torch.Generator().manual_seed(0)
for quantile in (0.98, 0.6, 0.3):
    image = int(strength.argsort()[int(quantile * len(strength)) - 1])
    rivals = torch.rand(300, len(strength), generator=draw)
    rivals[:, image] = 2.0  # never its own rival
    found = cosines[image][rivals.argsort(1)[:, : B - 1]] > cosines[image, image]
    placed = found.sum(1)
    print(
        f"image {image:3} at 90°: right in {100 * (placed == 0).float().mean():3.0f} % of the batches, "
        f"rank from {placed.min()} to {placed.max()}"
    )

# %% [markdown]
# "Right" and "wrong" are not properties of an image. They are computed anew in each training step, from the
# teacher's matrix of that batch, with that step's random crops.

# %% [markdown]
# ## 5. The student's matrix
#
# A student with a head of its own makes a matrix of the same shape from the same views, even if its
# projections are narrower. That is the point of comparing *matrices*: $3B \times B$ cosines have no width.
#
# **Predict.** How do the cosines of a network with random weights look, next to the teacher's?

# %%
B = 8
batch = kit.test.take(B, seed=5)
own = image_of_row(3 * B, B)
untrained = kit.runtime.place(sskd.create_network("resnet8", kit.train, projection=True, seed=0))
trained = kit.student("sskd")
taught = look(teacher, batch.images)
answers = {"untrained student": look(untrained, batch.images), "SSKD student": look(trained, batch.images)}
A_teacher = matrix(taught, B)
A_student = {name: matrix(out, B) for name, out in answers.items()}
print("width of a projection: teacher", taught.projection.shape[1], end=", ")
print("student", answers["SSKD student"].projection.shape[1])

# %%
name = "untrained student"
lab.show(
    lab.teacher_student_heatmaps(A_teacher, A_student[name], own, ("Teacher", "Untrained student")),
    alt="The teacher's matrix above that of a student with random weights, whose cosines lie between "
    f"{A_student[name].min():.2f} and {A_student[name].max():.2f}.",
)

# %%
name = "SSKD student"
lab.show(
    lab.teacher_student_heatmaps(A_teacher, A_student[name], own, ("Teacher", "SSKD student")),
    alt="The teacher's matrix above that of the SSKD student; the mean difference of their entries is "
    f"{(A_teacher - A_student[name]).abs().mean():.2f}.",
)

# %% [markdown]
# To the student with random weights everything is alike: its cosines crowd near 1. (It computes as in its
# first training step, with the batch's own statistics in BatchNorm.) The trained one has taken over much of
# the teacher's pattern. In numbers, over the many batches of section 4:


# %%
def compare(network):
    """Mean |A_t - A_s|, percent of rows with the same winner, percent of rows right, over all batches."""
    sums = torch.zeros(3)
    for (x, _), out in zip(batches, outputs, strict=True):
        A_t, A_s = matrix(out, 64), matrix(look(network, x), 64)
        hits = (A_s.argmax(1) == image_of_row(192, 64)).float().mean()
        alike = (A_t.argmax(1) == A_s.argmax(1)).float().mean()
        sums += torch.stack([(A_t - A_s).abs().mean(), 100 * alike, 100 * hits])
    return (sums / len(batches)).tolist()


for name, network in (("untrained student", untrained), ("SSKD student", trained)):
    difference, alike, hits = compare(network)
    print(
        f"{name:>17}: mean difference {difference:.2f}, same winner {alike:4.1f} %, rows right {hits:4.1f} %"
    )
print(f"{'teacher':>17}: {'':39} rows right {100 * (ranks == 0).float().mean():4.1f} %")

# %% [markdown]
# Compare the last column with the teacher's. With the embedded images the student gets *more* rows right
# than the teacher it imitates. One thing that differs: the student's whole network saw rotated views in
# training, the teacher's backbone never did. (One student of one seed; whether that is the reason was not
# tested.)
#
# Now step through rows yourself: both matrices at a temperature of your choice, and for one row what teacher
# and student take its view for. 24 of 72 images make a batch; the first slider draws it anew, from the same
# projections. (In eval mode a view's projection does not depend on its batch, so no network has to run.)
# Point at any row of the maps to see its view, its own image, and what each network ranks first.
#
# **Try.** Find a row the teacher gets wrong. Does the student copy the mistake? How much does the number of
# right rows change from batch to batch?

# %%
pool = kit.test.take(72, seed=4)
explorer = lab.explore_similarity(
    pool.images,
    look(teacher, pool.images).projection,
    look(trained, pool.images).projection,
    batch=24,
    temperature=0.5,
)

# %%
for number, drawn in enumerate(explorer.batches, start=1):
    missed, copied = (drawn.rank[who] > 0 for who in ("teacher", "student"))
    same = drawn.cosine["teacher"].argmax(1) == drawn.cosine["student"].argmax(1)
    print(
        f"batch {number}: teacher wrong on {missed.sum()} of {len(missed)} rows; of these the student is wrong on "
        f"{(missed & copied).sum()}, with the same image on {(missed & same.numpy()).sum()}"
    )

# %% [markdown]
# ## 6. The loss $L_{ss}$
#
# The student is asked to make its softened rows like the teacher's. For the rows of a set $S$ (which rows
# are in it is the subject of notebook 04; here: all), in the form the kit computes Eq. (6):
#
# $$L_{ss} = \frac{\tau^2}{|S|} \sum_{i \in S} \sum_{j=1}^{B} \mathcal{B}^t_{i,j} \, \log \frac{\mathcal{B}^t_{i,j}}{\mathcal{B}^s_{i,j}}$$
#
# $\mathcal{B}^t$ and $\mathcal{B}^s$ are the softened matrices of teacher and student, $|S|$ is the number
# of rows. It is the soft-target loss of notebook 01 with images in the place of classes.


# %%
def naive_ss(A_student, A_teacher, rows, temperature=0.5):
    total = 0.0
    for i in rows:
        p_t, p_s = (naive_soften(A[i], temperature) for A in (A_teacher, A_student))
        total += sum(p_t[j] * torch.log(p_t[j] / p_s[j]) for j in range(len(p_t)))
    return temperature**2 * total / len(rows)


everything = torch.ones(3 * B, dtype=torch.bool)
for name, A_s in A_student.items():
    ours = naive_ss(A_s, A_teacher, range(3 * B))
    torch.testing.assert_close(ours, selected_kl(A_s, A_teacher, 0.5, everything))
    print(f"L_ss = {ours:.4f} for the {name}; the loops and the library agree")

# %% [markdown]
# **Predict.** What happens to these two numbers if $\tau$ is 0.1 or 2 instead of 0.5? (Recall that the
# factor $\tau^2$ stands in front.)

# %%
for temperature in (0.1, 0.5, 2.0):
    values = [selected_kl(A_s, A_teacher, temperature, everything).item() for A_s in A_student.values()]
    print(f"τ = {temperature:3g}: untrained {values[0]:.4f}, SSKD student {values[1]:.4f}")

# %% [markdown]
# Without the factor $\tau^2$ the loss would vanish as $\tau$ grows and all rows become even; with it, it
# tends to a limit.
#
# **Change.** Go back to section 1 and set `B = 4`, then `B = 32`. Predict first: does the share of right
# rows grow or fall? Does the matrix of one image pair change?

# %% [markdown]
# ## Check yourself
#
# 1. A row has the cosines 0.9, 0.7, 0.2, 0.8, and its own image is the last. What is its error rank?
# 2. At $\tau = 0.5$ two columns have cosines 0.9 and 0.4. How many times as likely is the first?
# 3. "The teacher is wrong on this image." Why is this no complete statement for this task?
# 4. Teacher and student have projections of 128 and 64 numbers. Why can $L_{ss}$ compare them without a
#    further layer?
# 5. Name one piece of true information that a wrong row still carries.
#
# <details><summary>Answers</summary>
#
# 1. 1: only the first column lies above 0.8.
# 2. $e^{(0.9 - 0.4)/0.5} = e^{1} \approx 2.7$ times.
# 3. The rank depends on the view, on its crop and on the other images of the batch.
# 4. Only cosines are compared, and each network's $3B \times B$ cosines are made within its own space.
# 5. Which images resemble each other; the wrongly preferred one is often of the same class.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper claims | Measured here | Not tested here |
# |---|---|---|
# | The teacher's answers on the self-supervised task are noisy, and still worth passing on | Noisy: yes, by angle and class. Mistakes carry information: they favour the same class (section 4) | Whether passing them on helps the student: notebook 04 |
# | The student becomes like the teacher (its Table 6, whose values could not be found) | The shipped student's matrix is much closer to the teacher's than a random one's, for one seed | Whether it is closer than with other methods |
#
# ## Make
#
# * **Without a head.** Build the teacher's matrix from `features` instead of `projection`. How do the
#   cosines and the right rows change?
# * **Whose mistakes?** Compute the student's error ranks on the batches of section 4 and compare them row
#   by row with the teacher's. Does the student fail where the teacher fails?
#
# Next: [04 · Choosing what to pass on](04_selective_transfer.ipynb).
