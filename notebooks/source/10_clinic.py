# %% [markdown]
# # 10 · Break-it clinic
#
# Eight students were trained with a mistake in the code. Not one of them crashed, and not one printed a warning.
# Here are their accuracies beside those of a healthy training. Which ones are ill?

# %%
import torch

import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()
lab.show_clinic_results()

# %% [markdown]
# All eight are. Most of them cannot be told from the healthy student by their accuracy. One is even better. A mistake in a distillation is
# quiet: the loss falls, the student learns, and the result is only *a little* worse, or not even that.
#
# You need notebook 01 (temperature), 03 (similarity matrix) and 04 (which rows are kept). Afterwards you can choose a
# measurement that separates two suspicions, and test a training before you trust it. About 45 minutes.

# %%
lab.recall("10")

# %% [markdown]
# ## 1 · The patients
#
# Each patient is SSKD with the short schedule: 300 labels of the embedded Fashion-MNIST, 20 epochs. The
# healthy training has the same labelled images, first weights, order and views. In alphabetical order, the mistakes are:
#
# | diagnosis | what was done |
# |---|---|
# | `KL turned round` | KL(student ‖ teacher) in place of KL(teacher ‖ student) |
# | `learning rate x10` | 0.5 in place of 0.05 |
# | `no tau squared` | the factor $\tau^2$ is missing in $L_{kd}$, $L_T$ and $L_{ss}$ |
# | `padding after normalising` | zeros around *normalised* pixels, which are not black |
# | `teacher in train mode` | the teacher's BatchNorm takes the statistics of the batch |
# | `two student forwards` | upright and turned views pass the student apart |
# | `views shifted by one` | the student's 90° meets the teacher's 180°, and so on |
# | `worst rows kept` | selection keeps the rows with the *largest* error rank |
#
# ## 2 · One patient, step by step
#
# Read these curves. Write down two suspects before you scroll on.

# %%
lab.clinic("patient 1", "curves")

# %% [markdown]
# All four terms stay high for about ten epochs, and only then they fall. Missing $\tau^2$ is a suspect: it changes
# three of the terms. The clinic answers a wrong diagnosis with a sign that speaks against it:

# %%
lab.diagnose("patient 1", "no tau squared")

# %% [markdown]
# The first step is a strong measurement. Same seed, same first weights, same images, same views: every term must be
# *equal* to that of the healthy run, in all digits. If it is, the mistake acts after the loss.

# %%
lab.clinic("patient 1", "first step", "weights")
lab.diagnose("patient 1", "learning rate x10")

# %% [markdown]
# ## 3 · Which measurement?
#
# | chart | it shows | it is blind to |
# |---|---|---|
# | `curves` | terms and accuracies by epoch | small mistakes |
# | `matrices` | similarity matrices, and which rows are kept | everything without $L_{ss}$ |
# | `first step` | each term over the healthy one | what comes after the loss |
# | `weights` | how far the weights move, and the gradients | wrong targets of the right size |
# | `teacher` | if its answers repeat, and to which view they belong | the student |
# | `student` | both statistics of BatchNorm, and who shares a batch | the teacher |
# | `views` | the pixels | everything else |
#
# **Think.** A row of $L_T$ is compared with the teacher's answer to another turn. Which charts show it? (`first step`,
# because the terms of turned views change, and `teacher`, which says to which view each answer belongs.)
#
# A good test gives *different* results for two suspects. Look at the table of suspects and ask: which term
# would change at the first step, and which would not? For example, $L_{ce}$ needs no teacher. So if $L_{ce}$ is
# changed at the first step, the mistake is in the pixels or in the student.
#
# ## 4 · Your patients
#
# **Try.** Seven patients are left. Choose a chart, then a diagnosis. A wrong one is answered by a sign that
# speaks against it.

# %%
consultation = lab.explore_clinic()

# %% [markdown]
# The same without the lists: write a diagnosis in place of `None`. For the charts call
# `lab.clinic("patient 2", "teacher")`.

# %%
diagnoses = {
    "patient 2": None,
    "patient 3": None,
    "patient 4": None,
    "patient 5": None,
    "patient 6": None,
    "patient 7": None,
    "patient 8": None,
}
for patient, diagnosis in diagnoses.items():
    if diagnosis:
        lab.diagnose(patient, diagnosis)

# %% [markdown]
# Each right answer ends with the cost of the mistake: test accuracy minus that of the healthy training of the same
# seed. One mistake costs about 30 points in every seed. The learning rate costs between 5 and 44, so its interval is
# wide. One mistake even *gains* about two points. Of the other five, three seeds show no cost. That is no permission to
# make them: so few seeds cannot show a small cost, and another teacher or other images can make it large. And a gain
# belongs to another method than the one in the paper.
#
# ## 5 · Before you trust your own training
#
# The same measurements are short programs. Run them before a long training, on one batch.

# %%
lab.predict("10-tau")

# %%
B = 16
images = kit.train.take(B, seed=0)
teacher, student = kit.teacher(), kit.student("sskd")
views = sskd.four_views(images.images.to(kit.runtime.device), augment=False)
with torch.no_grad():
    together, alone = (kit.runtime.run(teacher, part).logits.cpu() for part in (views, views[:B]))
    answers = kit.runtime.run(student, views).logits.cpu()
moved = (together[:B] - alone).abs().max()
print(f"teacher alone and with turned views beside it: differs by at most {moved:.3f}")

turned_back = [torch.rot90(part, -k, (-2, -1)) for k, part in enumerate(views.split(B))]
print(f"views turned back are the upright ones: {all(torch.equal(v, views[:B]) for v in turned_back)}")

framed = sskd.four_views(torch.zeros(1, images.in_channels, 32, 32, dtype=torch.uint8))
print(f"the frame of a black image: {framed.max():.0f}")

print(f"L_kd of the teacher with itself: {sskd.losses.kd_loss(together, together, 4.0):.3f}")
norms = [lab.kd_gradient(answers[:B], together[:B], tau).norm().item() for tau in (4.0, 8.0)]
print("gradient of L_kd: τ = 4 {:.3f}, τ = 8 {:.3f}".format(*norms))
lab.reveal(
    "10-tau", norms[1] / norms[0], f"Without τ² it would be {norms[1] / norms[0] / 4:.2f} times as large."
)

# %% [markdown]
# Without $\tau^2$ the last number would be about a quarter of the one before it, or less. With a teacher in train
# mode the first number would be far from 0. (In half precision a few hundredths are rounding.)
#
# None of these lines sees a learning rate. For that, compare the loss after the first epoch with a run that you
# trust.

# %%
lab.exit_ticket("10")

# %% [markdown]
# ## Check yourself
#
# 1. At the first step all four terms are equal to the healthy ones, and after two epochs the weights are far away.
#    Where can the mistake be, and where not?
# 2. $L_{ce}$ and $L_{kd}$ are equal at the first step, $L_T$ and $L_{ss}$ are not. Name a suspect.
# 3. A mistake costs $-0.4 \pm 2.1$ points. Is it harmless?
# 4. Why does a healthy student's answer to an upright view change when the turned views leave the batch, and the
#    teacher's does not?
#
# <details><summary>Answers</summary>
#
# 1. Not in the views, the networks or the loss: these make the first step. It is in the update: learning rate,
#    momentum, weight decay, or how often the step is taken.
# 2. Upright views fit, turned ones do not: views and answers are in different orders.
# 3. Not shown. The data fit a loss of 2.5 points as well as a gain of 1.7.
# 4. The student trains, so its BatchNorm takes the statistics of the batch. The teacher is in eval mode.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper says | Measured here | Not tested |
# |---|---|---|
# | All four views pass the student together (published code) | apart: the signs of a patient | other batch sizes |
# | The least wrong rows are worth imitating | the most wrong rows in $L_{ss}$: the cost in a patient's answer | in $L_T$ |
# | nothing about mistakes in code | eight of them, one pair of networks, few seeds | two mistakes at once |
#
# ## Three lines to keep
#
# 1. A good accuracy is no proof of right code.
# 2. Repeat the first step with the same seed: every digit must agree.
# 3. Choose the measurement on which your two suspects differ.
#
# Next: [11 · Class board](11_class_board.ipynb)
