# %% [markdown]
# # 13 · Claims on trial
#
# 100 classes of small colour photographs, 50 labels for each class. One student learned by KD, one by SSKD. Each dot is
# one training.

# %%
import sskd_lib as sskd
from sskd_lib import lab

kit = lab.start()
lab.show_arms("kd", "sskd")

# %% [markdown]
# Such a gap needs no statistics. But *what* made it? SSKD differs from KD in two things. Its student also sees rotated
# views, and it has the term $L_{ss}$, which passes on the teacher's similarities between images. The name of the method
# comes from this term.

# %%
lab.predict("13-part")

# %%
verdicts = lab.claim_verdicts()
gap, views, term = (verdicts[key].primary[0] for key in ("sskd-over-kd", "same-views", "l-ss"))
words = "SSKD − KD {:+.2f} points, rotated views {:+.2f}, the term {:+.2f}."
lab.reveal("13-part", 100 * term.mean / gap.mean, words.format(gap.mean, views.mean, term.mean))
lab.show_arms("kd", "kd+rotations", "sskd")

# %% [markdown]
# `kd+rotations` is KD on the same rotated views, without $L_{ss}$. Nearly the whole gap is there already.
#
# This notebook puts the claims about SSKD on trial, one by one.
#
# You need notebook 04 (the terms) and 09 (intervals, Holm's correction). Afterwards you can say what a trial can show, and
# notice five ways in which a table can fool you. About 45 minutes.

# %%
lab.recall("13")

# %% [markdown]
# ## 1 · Your wagers
#
# The plan was written *before* the trainings: `data/claims/plan.yaml`. Later changes are dated at its top. Each claim names what is true if it is wrong, the
# comparison that decides, and the number of seeds. Two trainings of a seed share labelled images, first weights, order and
# views. So their difference is taken seed by seed.
#
# | verdict | it means |
# |---|---|
# | holds | the difference speaks for the claim; p is at most 0.05 after Holm's correction over all claims that were tried |
# | contradicted | the same, against the claim |
# | not shown | anything else |
#
# "Not shown" is not "false". These seeds could not tell.
#
# **Try.** Wager 1 to 3 points on each verdict. A right wager brings its stake, a wrong one costs it. Wager little where you
# do not know.

# %%
wagers = lab.wager_claims()

# %% [markdown]
# ## 2 · The verdicts

# %%
lab.settle_wagers()

# %% [markdown]
# The **least effect that could have shown** is the true effect that so many seeds, with such a spread, would find in four
# of five such experiments. Read each "not shown" together with this number.

# %%
lab.show_verdicts(verdicts)

# %% [markdown]
# The grey band is half a point on each side of zero. A smaller effect is called none that matters here. An arrow means: the effect is outside of this axis, and its number is at the right.
#
# An interval can miss zero, and the verdict can still be "not shown". Holm's correction asks more, because many claims are
# tried at once.
#
# **Think.** For which claims may one say more than "not shown"? (For those whose *whole* interval is inside the band, if
# there are any. The line below the figure names them. An effect that matters is unlikely there.)
#
# ## 3 · Five ways to be fooled
#
# With the same recorded trainings one can report much better news, without one false digit:
#
# - **one seed:** report the seed that you have, or the best one;
# - **best epoch:** take the best epoch of your method, and the last one of the other;
# - **copied baseline:** copy the other method's number from a table with another schedule;
# - **best setting:** try many settings, and report those that look best;
# - **unequal compute:** give both as many epochs, though one of them sees four times the images.

# %%
lab.predict("13-trick")

# %%
gains = lab.false_gains()
largest = max(gains, key=gains.get)
words = ", ".join(f"{trick} {gain:+.1f}" for trick, gain in gains.items())
lab.reveal("13-trick", largest, f"Points that each one adds: {words}.")

# %% [markdown]
# **Try.** Move the seed in "one seed" until the other method is ahead. Then look at the other four: does the fair
# comparison keep the sign?

# %%
explorer = lab.explore_fooled()

# %% [markdown]
# None of the five is a lie. Each is a sentence that is left out: *which* seed, *which* epoch, *whose* schedule, *how many*
# settings, *how much* work. Ask for these five before you compare two numbers.
#
# "Best setting" happened here, in two settings with wrong labels. So the plan got a claim about them, with new seeds,
# *before* these were trained. The first seeds do not count: they were the reason for the choice.
#
# In the last one the work is the student's. Four views cost four times as much as one. On these 100 classes, KD that spends
# the same work on more epochs wins. The paper compares at equal epochs, as most papers do.
#
# ## 4 · Where the gain does not come from
#
# $L_{ss}$ shows little here. Three students tell more about it. Each is SSKD with something taken away from the teacher's
# matrix of similarities:
#
# - `untrained head`: the teacher's head has random weights, so no contrastive task was ever learned;
# - `rows permuted`: an image gets the row of another image;
# - `relations permuted`: an image stays nearest to itself, but its relations to all others are those of another image.

# %%
lab.show_arms()
for key in ("trained-head", "own-matrix", "relations"):
    each = verdicts[key].primary[0]
    print(f"{each.comparison.name}: {each.mean:+.2f} ± {each.half:.2f}, {verdicts[key].word}")

# %% [markdown]
# Every student of four views is near SSKD.
#
# The random head is the strongest witness. Is its matrix the same as that of the trained head? Five measurements on
# Fashion-MNIST with 300 labels (`benchmarks/why.py`):

# %%
print(lab.reasons_in_words("fashion-300"))

# %% [markdown]
# Read the second answer. The random head's matrix is close to that of the teacher's plain *features*, and hardly like the
# trained head's. Two different matrices, and students that are equally good.
#
# Read the third answer. The trained head solves its task far better than the random one. The students show no gain.
#
# Read the last two answers. A student of KD on the same views never saw a matrix. Its features still tell most of what the
# features of an SSKD student tell about it. So $L_{ss}$ asks for something that is nearly there already, and
# its pull is small beside those of the soft targets.
#
# This is about these images, networks and schedules. With its 240 epochs, on full CIFAR-100, the paper reports a gain of the
# term. That was not tried here.
#
# ## 5 · One more seed, from you
#
# Now you are a witness. This trains SSKD, its control and the untrained head with 300 labels and the short schedule: about
# two minutes. Your seed comes from the random name in your record, so nobody else has it.

# %%
mine = lab.rerun_claim(kit, "l-ss", seeds=1)

# %% [markdown]
# **One seed decides nothing.** It moves the mean a little, and it counts in any case, whatever its sign. `seeds=3` trains
# three.
#
# ## 6 · Your class as a witness
#
# A class has many seeds. That a class can see the effect of $L_{ss}$ on its laptops is a claim of the plan, too. Here is
# the pooled experiment of notebook 11 beside the plan's trainings of the same kind. Put your class's folder in place of
# the example.

# %%
lab.show_class_claim(sskd.data.DATA_FOLDER / "course" / "example-class")

# %% [markdown]
# Two independent groups of seeds, one question. If their intervals overlap widely, they agree. Do not pool them after you
# have seen which one you like.

# %%
lab.exit_ticket("13")

# %% [markdown]
# ## Check yourself
#
# 1. A claim is "not shown", and its least effect that could have shown is 1.2 points. What may you say?
# 2. Your method beats a number in another paper's table by two points. Which five sentences do you ask for?
# 3. Why was the plan written before the trainings?
# 4. SSKD with a random head is as good as SSKD. What does this say about the trained head, and what not?
#
# <details><summary>Answers</summary>
#
# 1. An effect of 1.2 points or more would probably have shown. About smaller ones these seeds say little.
# 2. How many seeds, which epoch, whose schedule and images, how many settings were tried, how much compute.
# 3. Otherwise one can choose the comparison, the images or the number of seeds after the results. Then 0.05 means nothing.
# 4. Its training brought no gain that these seeds could see. Not that it never does, for other images or longer schedules.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The paper says | Measured here | Not tested |
# |---|---|---|
# | SSKD is better than KD | at equal epochs, and at equal compute | full CIFAR-100, 240 epochs |
# | $L_{ss}$ brings a part of the gain | against KD on the same views | other teachers |
# | The head learns a contrastive task first | against a head with random weights | other pretext tasks |
#
# ## Three lines to keep
#
# 1. Write down what would contradict you, before you train.
# 2. A gain has a reason only if the control differs in nothing else.
# 3. Ask which seeds, which epoch, whose schedule, how many settings, how much compute.
#
# Next: [00 · Start here](00_start_here.ipynb), with the map of all notebooks.
