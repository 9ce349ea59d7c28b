# %% [markdown]
# # 01 · Vanilla KD: soft targets, temperature, and the factor τ²
#
# Two images with the same label. For the teacher they are not the same at all.

# %%
import math

import torch
import torch.nn.functional as F

import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()
teacher_output = sskd.predict(kit.teacher(), kit.test, kit.runtime)
classes, labels = kit.test.classes, kit.test.labels
one, other = lab.same_label_pair(teacher_output.logits, labels)
for image in (one, other):
    lab.show(
        lab.soft_targets(kit.test.images[image], teacher_output.logits[image], classes, temperatures=(1, 4)),
        alt=f"An image of class {classes[labels[image]]}, and the teacher's output at temperatures 1 and 4.",
    )

# %% [markdown]
# The label says the same of both. The teacher's second thoughts differ. Hinton, Vinyals and Dean (2015,
# [arXiv 1503.02531](https://arxiv.org/abs/1503.02531)) called this **dark knowledge**. To hand it to a small
# network is **knowledge distillation** (KD), and SSKD builds on it.
#
# You need logits, softmax and cross-entropy. Afterwards you can compute the KD loss and its gradient by hand,
# explain the factor $\tau^2$, and name two common mistakes in KD code. About 50 minutes.

# %%
lab.recall("01")

# %% [markdown]
# ## 1 · Temperature
#
# At $\tau = 1$ the small probabilities are so small that a loss hardly feels them. So divide the scores (logits)
# $s_k$ by a **temperature** $\tau$ before the softmax:
#
# $$p_k(\tau) = \frac{\exp(s_k / \tau)}{\sum_j \exp(s_j / \tau)}$$

# %%
lab.practise("soften")


# %% tags=["exercise"]
def soften(logits, tau):
    # BEGIN SOLUTION
    scaled = logits / tau
    raised = (scaled - scaled.amax(1, keepdim=True)).exp()
    return raised / raised.sum(1, keepdim=True)
    # END SOLUTION


lab.check("soften", soften)

# %%
scores = teacher_output.logits[[one]].double()
for tau in (1.0, 4.0, 20.0):
    p = sskd.losses.soften(scores, tau)
    print(f"τ = {tau:4g}: largest {100 * p.max():5.1f} %, entropy {-(p * p.log2()).sum():.2f} bits")
print(f"an even spread over {len(classes)} classes has {math.log2(len(classes)):.2f} bits")

# %% [markdown]
# The order of the classes never changes, because dividing by a positive number keeps it. The entropy grows
# towards that of an even spread.

# %%
lab.predict("01-hot")

# %% [markdown]
# Section 3 answers. Now move the temperature yourself. Solid bars are the teacher, hollow ones a student. On the
# right is the **pull** on each of the student's scores: where the loss would move it. A ▸ marks the label.
#
# **Try.** Do the task below the picture. On the way, watch the pull on the *second* class: does it only grow?

# %%
students = {name: sskd.predict(kit.student(name), kit.test, kit.runtime) for name in ("ce", "kd", "sskd")}
chosen = lab.doubtful_images(teacher_output.logits, labels, first=one)
lab.explore_temperature(
    kit.test.images[chosen],
    teacher_output.logits[chosen],
    {name: output.logits[chosen] for name, output in students.items()},
    classes=classes,
    labels=labels[chosen],
    per_class=3,
)

# %% [markdown]
# ## 2 · The loss
#
# The student's softened output $p^s$ should match the teacher's $p^t$. The Kullback-Leibler divergence measures the
# mismatch, with the teacher first. It is averaged over $N$ images and multiplied by $\tau^2$:
#
# $$L_{kd} = \frac{\tau^2}{N} \sum_{i=1}^{N} \sum_{k=1}^{K} p^t_{ik} \log \frac{p^t_{ik}}{p^s_{ik}}$$

# %%
lab.practise("kd_loss")


# %% tags=["exercise"]
def kd_loss(student, teacher, tau):
    # BEGIN SOLUTION
    log_s = F.log_softmax(student / tau, 1)
    log_t = F.log_softmax(teacher.detach() / tau, 1)
    rows = (log_t.exp() * (log_t - log_s)).sum(1)
    return tau**2 * rows.mean()
    # END SOLUTION


lab.check("kd_loss", kd_loss)

# %%
s, t = (output.logits[:50].double() for output in (students["ce"], teacher_output))
log_s, log_t = F.log_softmax(s / 4, 1), F.log_softmax(t / 4, 1)
print(f"the loss                     {sskd.losses.kd_loss(s, t, 4.0):.4f}")
print(f"F.kl_div, default reduction  {16 * F.kl_div(log_s, log_t.exp(), reduction='mean'):.4f}")
print(f"teacher and student swapped  {16 * F.kl_div(log_t, log_s.exp(), reduction='batchmean'):.4f}")

# %% [markdown]
# The last two lines are the two most common mistakes. PyTorch's default divides by $N K$ instead of $N$, so the
# loss is $K$ times too small. And with teacher and student exchanged the divergence is another one.
#
# ## 3 · The gradient, and why τ²
#
# Differentiate the loss of one image by one score of the student. Almost everything cancels:
#
# $$\frac{\partial L_{kd}}{\partial s^s_k} = \tau \left( p^s_k - p^t_k \right)$$
#
# Descent goes against it. So a score is raised where the student gives less than the teacher, and lowered where
# it gives more.

# %%
lab.practise("kd_gradient")


# %% tags=["exercise"]
def kd_gradient(student, teacher, tau):
    # BEGIN SOLUTION
    difference = torch.softmax(student / tau, 1) - torch.softmax(teacher / tau, 1)
    return tau * difference / len(student)
    # END SOLUTION


lab.check("kd_gradient", kd_gradient)

# %% [markdown]
# Without the factor $\tau^2$ the gradient is $(p^s_k - p^t_k)/\tau$. At high temperature a softmax is nearly
# straight, $p_k \approx \frac{1}{K} + \frac{s_k - \bar s}{K\tau}$, where $\bar s$ is the mean score. So the
# difference shrinks like $1/\tau$, and the gradient without $\tau^2$ like $1/\tau^2$.

# %%
lab.predict("01-tau2")

# %%
student_logits, teacher_logits = students["ce"].logits, teacher_output.logits
size = {tau: lab.kd_gradient(student_logits, teacher_logits, tau).abs().sum() / tau**2 for tau in (4, 8)}
lab.reveal("01-tau2", size[8] / size[4])
figure, words = lab.gradient_over_temperature(student_logits, teacher_logits)
lab.show(figure, alt=words)
print(words)

# %% [markdown]
# The rule $1/\tau^2$ is the limit for temperatures that are large beside the spread of the scores. From about
# $\tau = 4$ up, the gradient with $\tau^2$ levels off. There the weight $\lambda_{kd}$ keeps about the same
# meaning when you change $\tau$. Below, it does not: from 1 to 4 the gradient grows several times.
#
# And this answers the first question. At high $\tau$ the probabilities are nearly even, but with $\tau^2$ the
# loss tends to half the mean squared difference of the (centred) scores. The pull then follows the differences
# of the scores.

# %%
pull = -lab.kd_gradient(student_logits, teacher_logits, 1000.0)
differences = teacher_logits - student_logits
differences = differences - differences.mean(1, keepdim=True)
r = torch.corrcoef(torch.stack([pull.flatten(), differences.flatten()]))[0, 1]
lab.reveal("01-hot", "b" if r > 0.9 else "a", f"Pull and score difference at τ = 1000: correlation {r:.3f}.")

# %% [markdown]
# ## 4 · Dark knowledge on real images
#
# Which classes are similar for the teacher? Average its softened outputs ($\tau = 4$) over the test images of each
# class. The diagonal is left out.
# Write down two pairs of classes that you expect to be most similar.

# %%
lab.predict("01-onesided")

# %%
table = lab.mean_soft_outputs(teacher_output.logits, labels, len(classes))
lab.reveal("01-onesided", (table / table.T).nan_to_num().max())
figure, words = lab.class_similarities(teacher_output.logits, labels, kit.test)
lab.show(figure, alt=words.splitlines()[0])
print(words)

# %% [markdown]
# No label contains this table. A student of labels has to find it from the pixels. A student of soft targets
# gets it with every image.
#
# Ten kinds of clothes have few relatives. The kit's second set of images has 81 kinds of food in 43 groups: apples
# among apples, milk cartons among milk cartons. Its teacher never heard of the groups.

# %%
lab.predict("01-food")

# %%
food = sskd.load_images("grocery", "test")
weights = sskd.data.DATA_FOLDER / "weights" / "grocery" / "teacher_wrn_16_2.safetensors"
food_logits = sskd.predict(sskd.load_checkpoint(weights), food).logits
has_relatives = lab.same_group(food)[0].any(1)
lab.reveal("01-food", 100 * lab.share_in_group(food_logits, food)[has_relatives].mean())
figure, words = lab.coarse_knowledge(food_logits, food)
lab.show(figure, alt="Five photographs of food with the teacher's first three classes. " + words)
print(words)

# %% [markdown]
# The label "Granny Smith" does not say that it is an apple. The teacher's second thoughts do.
#
# ## 5 · Two students
#
# The kit ships a `resnet8` trained on labels (`ce`) and one trained with $0.1\, L_{ce} + 0.9\, L_{kd}$ at $\tau = 4$
# (`kd`): same images, same epochs, same first weights. **Agreement** is the share of images for which student and
# teacher name the same class. **Distance** is the mean $\mathrm{KL}(p^t \| p^s)$ at $\tau = 1$. The **calibration
# error** is the mean gap between confidence and accuracy.

# %%
lab.predict("01-columns")

# %%
before, after = (lab.student_figures(students[n].logits, teacher_logits, labels) for n in ("ce", "kd"))
gains = [after["accuracy"] / before["accuracy"] - 1]
gains += [1 - after[name] / before[name] for name in ("distance", "calibration error")]
lab.reveal("01-columns", gains.index(max(gains)), "Gains: {:.0%}, {:.0%}, {:.0%}.".format(*gains))
print(lab.student_table(kit, {"ce": students["ce"], "kd": students["kd"]}, teacher_output))

# %% [markdown]
# The distance is what KD minimises, so it falls. The interval below the table is about *these test images*: it
# says nothing about another training. KD does not make a student well calibrated. On the embedded images it takes
# over the teacher's confidence, but not all of its right answers. With few labels, and over several seeds:

# %%
print(lab.recorded_kd_gain())

# %% [markdown]

# %%
lab.exit_ticket("01")

# %% [markdown]
# ## Check yourself
#
# 1. Scores (2, 0). What are the probabilities at $\tau = 1$ and at $\tau = 2$?
# 2. Student 0.2, teacher 0.5, $\tau = 4$. Which way is the score moved, and how strongly?
# 3. A colleague's loss lacks $\tau^2$. She raises $\tau$ from 4 to 8, and KD helps less. Why might that be?
# 4. Agreement with the teacher rose, accuracy did not. How can that be?
#
# <details><summary>Answers</summary>
#
# 1. $1/(1+e^{-2}) \approx 0.88$ and 0.12; $1/(1+e^{-1}) \approx 0.73$ and 0.27.
# 2. The gradient is $4 \cdot (0.2 - 0.5) = -1.2$, so the score is raised.
# 3. Her KD term pulls up to four times less beside $L_{ce}$. She changed two things at once.
# 4. The student also took over wrong answers of the teacher.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper says | Measured here | Not tested |
# |---|---|---|
# | Softened outputs contain which classes are similar (Hinton et al.) | yes (section 4; a hidden class is found in notebook 00) | speech, ensembles |
# | $\tau^2$ keeps the size of the gradient | at high temperature; not below about 4 (section 3) | its effect on accuracy |
# | KD beats training on labels | with few labels yes (section 5) | other pairs of networks |
#
# ## Three lines to keep
#
# 1. Temperature brings small probabilities back to where a loss can feel them.
# 2. The pull on a score is $\tau$ times the difference of two probabilities.
# 3. With $\tau^2$ and a high temperature, KD becomes matching of scores.
#
# Next: [02 · Rotation self-supervision](02_rotation_self_supervision.ipynb)
