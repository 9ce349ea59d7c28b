# %% [markdown]
# # 12 · SSKD in your own code
#
# This student learned by six functions. At the end of this notebook, you will have written all six.

# %%
import torch
import torch.nn.functional as F

import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()
teacher, few = kit.teacher(), kit.train.take(max(300, 10 * len(kit.train.classes)), seed=0)
shipped = sskd.predict(kit.student("sskd"), kit.test, kit.runtime).logits
lab.show_answers(kit.test, {"sskd": sskd.Output(logits=shipped)})
print(f"{100 * (shipped.argmax(1) == kit.test.labels).float().mean():.1f} % right")

# %% [markdown]
# A method that you can write is a method that you understand. Each function below has three easier steps before it:
# read a worked loop, put lines in order, fill in blanks. Then write it yourself. The check tries random cases and says
# which mistake was made.
#
# You need notebooks 01 to 04. Afterwards you can write a distillation loss and a training step from the paper's
# equations. About 60 minutes. As long as a function is not right, the kit's own takes its place, so the last section
# always runs.

# %%
lab.recall("12")

# %% [markdown]
# ## 1 · Two terms on upright views
#
# A batch of $B$ images gives $4B$ rows: first $B$ upright ones, then those at 90°, 180° and 270°. The first two terms
# use the upright rows only: cross-entropy with the labels, and soft targets.

# %%
lab.practise("ce_term")


# %% tags=["exercise"]
def ce_term(logits, labels):
    # BEGIN SOLUTION
    return F.cross_entropy(logits[: len(labels)], labels)
    # END SOLUTION


ce_term = lab.checked("ce_term", ce_term)

# %%
lab.practise("kd_term")


# %% tags=["exercise"]
def kd_term(student_logits, teacher_logits, tau):
    # BEGIN SOLUTION
    images = len(student_logits) // 4
    return sskd.losses.kd_loss(student_logits[:images], teacher_logits[:images].detach(), tau)
    # END SOLUTION


kd_term = lab.checked("kd_term", kd_term)

# %% [markdown]
# ## 2 · Two terms on rotated views
#
# $L_T$ compares softened classes, $L_{ss}$ softened rows of the similarity matrix. Both are means over the rows that
# the *teacher's* error rank keeps.

# %%
lab.practise("tf_term")


# %% tags=["exercise"]
def tf_term(student_logits, teacher_logits, labels, tau, share):
    # BEGIN SOLUTION
    images, t = len(labels), teacher_logits.detach()
    keep = sskd.losses.transfer_mask(t[images:], labels.repeat(3), share)
    return sskd.losses.selected_kl(student_logits[images:], t[images:], tau, keep)
    # END SOLUTION


tf_term = lab.checked("tf_term", tf_term)

# %%
lab.practise("ss_term")


# %% tags=["exercise"]
def ss_term(student_z, teacher_z, tau, share):
    # BEGIN SOLUTION
    images = len(student_z) // 4
    A_t, A_s = (
        sskd.losses.similarity_matrix(z[images:], z[:images]) for z in (teacher_z.detach(), student_z)
    )
    keep = sskd.losses.transfer_mask(A_t, torch.arange(3 * images) % images, share)
    return sskd.losses.selected_kl(A_s, A_t, tau, keep)
    # END SOLUTION


ss_term = lab.checked("ss_term", ss_term)

# %% [markdown]
# ## 3 · The sum, and one step

# %%
lab.practise("sskd_total")


# %% tags=["exercise"]
def sskd_total(terms, weights):
    # BEGIN SOLUTION
    return sum(weights[name] * terms[name] for name in terms)
    # END SOLUTION


sskd_total = lab.checked("sskd_total", sskd_total)

# %%
lab.practise("train_step")


# %% tags=["exercise"]
def train_step(student, teacher, optimizer, images, labels, views, loss):
    # BEGIN SOLUTION
    student.train()
    teacher.eval()
    x = views(images)
    with torch.no_grad():
        teacher_output = teacher(x)
    value = loss(student(x), teacher_output, labels)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()
    # END SOLUTION


train_step = lab.checked("train_step", train_step)

# %% [markdown]
# ## 4 · Train with it
#
# Your six functions, 300 labels, 20 epochs. It takes about a minute on a laptop.

# %%
lab.predict("12-gap")

# %%
recipe = sskd.Recipe()


def loss(s, t, labels):
    terms = {
        "ce": ce_term(s.logits, labels),
        "kd": kd_term(s.logits, t.logits, recipe.kd_temperature),
        "tf": tf_term(s.logits, t.logits, labels, recipe.tf_temperature, recipe.tf_keep_wrong),
        "ss": ss_term(s.projection, t.projection, recipe.ss_temperature, recipe.ss_keep_wrong),
    }
    return sskd_total(terms, {name: getattr(recipe, name) for name in terms})


student = lab.train_with(train_step, loss, teacher, few, seed=0)
(theirs,) = sskd.distill(
    [sskd.create_network("resnet8", like=few, projection=True, seed=0)],
    teacher, few, kit.test, method=["sskd"], schedule=sskd.SHORT, seed=0, runtime=kit.runtime,
    evaluate_every=sskd.SHORT.epochs,
)  # fmt: skip
mine, kits = sskd.evaluate(student, kit.test)["accuracy"], theirs.summary["last"]["test_accuracy"]
lab.reveal("12-gap", abs(mine - kits), f"Yours {mine:.1f} %, the kit's `distill` {kits:.1f} %.")

# %% [markdown]
# ## 5 · What you know about what you know
#
# A network is well calibrated if it is right as often as it is sure. Are you? This draws all predictions that you made
# in the course.

# %%
lab.show_calibration()

# %%
lab.exit_ticket("12")

# %% [markdown]
# ## Check yourself
#
# 1. Which of the six functions changes if the pretext task is another one?
# 2. Your student has the kit's accuracy to within its seeds. Does this show that your code is right?
# 3. Which mistake in `train_step` would no accuracy show?
#
# <details><summary>Answers</summary>
#
# 1. Only `ss_term`, and the head that makes the projections.
# 2. No. Notebook 10 has mistakes that cost no accuracy. The checks compare numbers, not accuracies.
# 3. A teacher inside the graph: it costs memory and time, and its weights stay, as no optimizer holds them.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper says | Measured here | Not tested |
# |---|---|---|
# | Four terms, Eq. (8) | your terms equal the kit's on random cases | the published code, line by line |
#
# ## Three lines to keep
#
# 1. Upright rows teach classes; rotated rows are chosen by the teacher's own errors.
# 2. One joint forward in train mode, one teacher without a graph, one step.
# 3. A check of numbers finds what an accuracy hides.
#
# Next: [13 · Claims on trial](13_claims_on_trial.ipynb)
