# %% [markdown]
# # 07 · A map of the methods, and your own loss
#
# Two dozen papers give a student something to imitate. Each of their losses reads some things and cannot notice
# others. Here you measure which. Then you write a loss of your own.
#
# **You need** notebook 01; notebook 04 helps. **You will be able to** say what a loss compares, predict what it
# cannot notice, and write and check a new term. **Time:** 40 minutes; the cells take about a minute.

# %%
import torch

import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()

# %%
lab.recall("07")

# %% [markdown]
# ## 1 · A broken copy with a perfect loss
#
# Take the trained teacher. Put its features into another order, and leave its last layer as it was. This broken
# copy competes with a well-trained student.

# %%
teacher, student = kit.teacher(), kit.student("sskd")
right = sskd.predict(teacher, kit.test, kit.runtime)
outputs = {
    "good student": sskd.predict(student, kit.test, kit.runtime),
    "broken copy": lab.shuffled_copy(teacher, right, kit.runtime),
}
lab.show_answers(kit.test, {"teacher": right, "copy": outputs["broken copy"]})

# %%
losses = {"SP": sskd.losses.sp.sp_loss, "RKD": sskd.losses.rkd.rkd_loss, "PKT": sskd.losses.pkt.pkt_loss}
print(f"{'':14}{'right':>8}" + "".join(f"{name:>10}" for name in losses))
for name, output in outputs.items():
    accuracy = (output.logits.argmax(1) == kit.test.labels).float().mean()
    values = [loss(output.features[:64], right.features[:64]) for loss in losses.values()]
    print(f"{name:14}{accuracy:8.1%}" + "".join(f"{abs(value):10.6f}" for value in values))

# %% [markdown]
# Three published losses are zero for the broken copy. The good student has the larger loss. These three compare
# images with each other. The order of the features is free for them, and the last layer is left to the labels.
# So a loss of zero says only this: what *this loss reads* is equal. What do the other losses read?
#
# ## 2 · A map of two dozen methods
#
# Methods differ in **where** they look (logits, features, or maps deep inside) and in **how many images** they
# compare together. A loss on single images says: give this image what the teacher gives it. A loss on several
# images says: find those images similar that the teacher finds similar.

# %%
lab.show(lab.zoo_map(), alt=lab.map_words())

# %% [markdown]
# The number is the year of the paper; ×4 marks four views of each image. Now one line for each
# method. S is the student, T the teacher; $p$ are softened outputs, $f$ features, $F$ maps, $r$ an adapter.

# %%
print(lab.zoo_table())

# %% [markdown]
# The teacher has more features than the student. Some losses have an extra trained layer, an **adapter**, to
# compare them. And each term has its published weight.

# %%
lab.predict("07-adapters")

# %%
lab.predict("07-weights")

# %%
terms = lab.set_up_terms(student, teacher, kit.test.take(24, seed=1), kit.runtime)
print(lab.term_sizes(terms))
single, several = lab.adapter_shares(terms)
words = f"Adapters: {single:.0%} of the losses on single images, {several:.0%} of those on several images."
lab.reveal("07-adapters", "a" if single > several + 0.1 else "b" if several > single + 0.1 else "c", words)
sizes = lab.term_figures(terms)  # value, weight, numbers of its own
largest = max(sizes, key=lambda name: sizes[name][0] * sizes[name][1])
answer = {0: "a", len(sizes) - 1: "b"}.get(list(sizes).index(largest), "c")  # the largest weight is first
lab.reveal("07-weights", answer, f"The largest part here is that of {largest}.")

# %% [markdown]
# *Weights:* weight times value enters the sum. A mean of small squares needs a large weight; a sum over many
# numbers needs a small one. Compare `pkt` and `cc`.
#
# *Adapters:* the last column counts the trained numbers of each term. Single images can be compared without an
# adapter where both networks have the same kind of numbers, such as logits, or where the channels are
# summed away. A table of all pairs of images is $B \times B$ for every network. `cc` and `crd`
# compare several images and have adapters all the same.
#
# ## 3 · A table of images: SP
#
# Row $i$ of $F$ holds the activations of image $i$. SP (Tung and Mori 2019) makes the table
# $G = F F^\top$, divides each row by its length, and compares:
#
# $$L_{SP} = \frac{1}{B^2} \sum_{i,j} \left( \tilde G_{T,ij} - \tilde G_{S,ij} \right)^2$$
#
# We change the student's maps in three ways.

# %%
lab.predict("07-sp")


# %%
def sp_table(maps):
    rows, table = maps.flatten(1), []
    for a in rows:
        products = [float((a * b).sum()) for b in rows]
        length = sum(product**2 for product in products) ** 0.5
        table.append([product / length for product in products])
    return table


def sp_by_hand(maps_s, maps_t):
    G_s, G_t, B = sp_table(maps_s), sp_table(maps_t), len(maps_s)
    return sum((G_t[i][j] - G_s[i][j]) ** 2 for i in range(B) for j in range(B)) / B**2


output_s, output_t = terms.outputs["post_relu"]
F_s, F_t = output_s.maps[-1][:12], output_t.maps[-1][:12]
assert abs(sp_by_hand(F_s, F_t) - losses["SP"](F_s, F_t)) < 1e-9  # the library's
added = F_s + torch.linspace(0, 1, F_s.shape[1]).view(-1, 1, 1)
variants = {"as it is": F_s, "times 3": 3 * F_s, "other order": F_s.flip(1), "added": added}
values = {title: losses["SP"](maps, F_t).item() for title, maps in variants.items()}
print(", ".join(f"{title} {value:.6f}" for title, value in values.items()))
moves = [abs(value - values["as it is"]) for value in values.values()][1:]
lab.reveal("07-sp", moves.index(max(moves)))

# %% [markdown]
# ## 4 · A row of logits: KD, standardised KD, DKD
#
# Two later papers change what KD reads. **Standardised KD** (Sun et al. 2024) first gives each row of logits mean
# 0 and deviation 1. **DKD** (Zhao et al. 2022) splits KD into two parts. With
# $p(y)$ for the label and $\hat p$, the softmax over the *other* classes:
#
# $$\mathrm{KL}(p_T \| p_S) = \underbrace{\mathrm{KL}_y}_{\text{label or not}} + (1 - p_T(y)) \underbrace{\mathrm{KL}(\hat p_T \| \hat p_S)}_{\text{the other classes}}$$
#
# In DKD the second part has its own weight $\beta$ instead of $1 - p_T(y)$.

# %%
lab.predict("07-logits")


# %%
def standardise(logits):
    rows = []
    for s in logits.tolist():
        mean = sum(s) / len(s)
        deviation = (sum((value - mean) ** 2 for value in s) / (len(s) - 1)) ** 0.5
        rows.append([(value - mean) / deviation for value in s])
    return torch.tensor(rows, dtype=logits.dtype)


def two_parts(logits_s, logits_t, y, tau):
    p_s, p_t = ((s / tau).softmax(0) for s in (logits_s, logits_t))
    label = sum(a * (a / b).log() for a, b in ((p_t[y], p_s[y]), (1 - p_t[y], 1 - p_s[y])))
    others = [k for k in range(len(p_t)) if k != y]
    q_s, q_t = p_s[others] / p_s[others].sum(), p_t[others] / p_t[others].sum()
    return label, 1 - p_t[y], (q_t * (q_t / q_s).log()).sum()


kd, kd_ls, dkd = sskd.losses.kd_loss, sskd.losses.logit_std.standardised_kd_loss, sskd.losses.dkd.dkd_loss
s, t, y = output_s.logits, output_t.logits, terms.labels
parts = [two_parts(*row, tau=4.0) for row in zip(s, t, y, strict=True)]
assert abs(4**2 * sum(a + w * b for a, w, b in parts) / len(y) - kd(s, t, 4.0)) < 1e-9
assert abs(kd(standardise(s), standardise(t), 2.0) - kd_ls(s, t, 2.0)) < 1e-9
variants = {"as it is": s, "plus 5": s + 5, "times 3": 3 * s, "mixed": lab.mix_other_classes(s, y)}
print(f"{'':10}{'KD':>8}{'standardised':>14}{'DKD':>9}")
values = {title: (kd(x, t, 4.0), kd_ls(x, t, 2.0), dkd(x, t, y)) for title, x in variants.items()}
for title, row in values.items():
    print("{:10}{:8.3f}{:14.3f}{:9.3f}".format(title, *row))
moves = [abs(b / a - 1) for a, b in zip(values["as it is"], values["times 3"], strict=True)]
lab.reveal("07-logits", moves.index(min(moves)))
weights = torch.stack([weight for _, weight, _ in parts])
print(f"KD's weight on the other classes: {weights.min():.2f} to {weights.max():.2f}; DKD's: 8")

# %% [markdown]
# A number added to all logits is noticed by none: the softmax removes it. In the line "mixed" the student mixes
# up the other classes. DKD changes more: the weight $1 - p_T(y)$ is small where the teacher is sure, so KD reads
# little of the other classes there.
#
# ## 5 · What each loss does not notice
#
# Now all terms. We change the student's outputs, keep the teacher's, and measure by what share each
# loss changes. In the last column both networks see the images in another order.

# %%
lab.predict("07-rotation")

# %%
changes = lab.loss_changes(terms)
blind = [name for name, row in changes.items() if row["rotate"] <= 1e-6]
answer = "c" if len(blind) == len(changes) else "b" if blind else "a"
lab.reveal("07-rotation", answer, f"{len(blind)} of the {len(changes)} losses do not notice it.")
lab.show(lab.change_table(changes, "Change of each loss"), alt=lab.unnoticed(changes))
print(lab.unnoticed(changes))

# %% [markdown]
# Rows with many zeros ask for little: a shape. Rows with few zeros ask for the teacher's own numbers. The
# losses with a 0 under "rotate" use only lengths and products of whole rows. One loss notices the order although
# both networks see the same images: `cc` multiplies the error of each image by that of the *next* one.
#
# A small number in a row with an adapter means little. The adapters are untrained here, and training can undo a
# rotation.
#
# ## 6 · A term of your own
#
# Methods are sums. Names joined with `+` add their terms: `kd+sp`, `sskd+dkd`. So a new term needs no
# new training code. A loss is a function of both networks' outputs. Here is a first version: compare the distances of all pairs
# of images. `lab.check_loss` tries it on random features and gives a hint.
#
# **Try.** Change `mine` until all five lines say *yes*.


# %%
def mine(student, teacher):
    """student, teacher: features [B, D_S], [B, D_T] → one number, 0 where nothing is left to learn."""
    return (torch.cdist(student, student) - torch.cdist(teacher, teacher)).square().mean()


passed = lab.check_loss(mine)

# %% [markdown]
# <details><summary>A solution</summary>
#
# ```python
# def mine(student, teacher):
#     far_s, far_t = torch.cdist(student, student), torch.cdist(teacher, teacher)
#     return (far_s / far_s.mean() - far_t / far_t.mean()).square().mean()
# ```
#
# Distances in units of their mean: the first half of RKD (Park et al. 2019).
#
# </details>
#
# A `Term` makes it a part of a method: a name, the output it compares, a weight, and the loss.
#
# Now KD with this term against KD alone: few labels, few epochs, one seed.
#
# **Think.** Which gap between the two would convince you?


# %%
class Mine(sskd.losses.Term):
    name, inputs = "mine", "features"

    def forward(self, student_output, teacher_output, batch):
        return mine(student_output.features, teacher_output.features)


own = sskd.losses.Sum("kd+mine", sskd.create_method("kd"), [Mine(weight=1.0)])
few, schedule = kit.train.take(300, seed=0), sskd.Schedule(epochs=10, batch_size=16, shape="one-cycle")
for method in (sskd.create_method("kd"), own):
    network = sskd.create_network("resnet8", like=few, seed=0)
    run = sskd.distill(
        network,
        teacher,
        few,
        kit.test,
        method=method,
        schedule=schedule,
        evaluate_every=10,
        runtime=kit.runtime,
    )
    print(f"{method.name:8} {run.summary['last']['test_accuracy']:.1f} % (one seed)")

# %% [markdown]
# None. One run shows that the term trains, and nothing more. Notebook 09 asks how many runs a claim needs.

# %%
lab.exit_ticket("07")

# %% [markdown]
# ## Check yourself
#
# 1. A loss does not change when the student's features are rotated. Does it need an adapter?
# 2. A teacher is sure of every training image. What does KD at τ = 1 pass on about the other classes?
# 3. Your new term needs the weight 5,000. What do you look at before you call it important?
# 4. A student reaches $L_{RKD} = 0$. Is it as good as its teacher?
#
# <details><summary>Answers</summary>
#
# 1. Hardly. A rotation leaves lengths and products of whole rows: a $B \times B$ table for any width.
# 2. Nearly nothing: their weight is $1 - p_T(y)$, close to 0. A higher temperature helps, or DKD.
# 3. Its value times its weight, beside the other terms.
# 4. Not necessarily: the broken copy reaches it too.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The papers claim | Measured here | Not tested here |
# |---|---|---|
# | SP, RKD, PKT need no adapter | no trained numbers; zero for a broken copy | whether this freedom helps |
# | Standardised KD ignores the teacher's scale | no change for logits times 3 | its accuracy |
# | DKD passes on more about the other classes | weights and change on one batch | the choice of $\beta$ |
#
# ## Three lines to keep
#
# 1. Ask of every loss what it compares and what it cannot notice.
# 2. A weight alone says nothing; weight times value does.
# 3. A loss of zero means equal for this loss, and no more.
#
# Next: [08 · The time machine](08_time_machine.ipynb).
