# %% [markdown]
# # 11 · Class board
#
# One seed says little, and one learner's guess says little. A class has thirty of each.

# %%
import sskd_lib as sskd
from sskd_lib import lab

FOLDER = sskd.data.DATA_FOLDER / "course" / "example-class"  # put your class's folder here
kit = lab.start()
records = lab.read_class(FOLDER)
lab.show_class_guesses(records, lab.most_answered(records)[0])

# %% [markdown]
# The same question, asked twice: hollow bars before the learners talked to each other, filled ones after.
#
# This notebook is for the last ten minutes of a lab. It needs the files of the learners. **The files that come with the
# kit are an example:** the runs in them are real, recorded ones; the answers and mistakes are invented.
#
# You need notebooks 00 to 04. Afterwards you can say what a class's experiment shows, and what it cannot. About 20
# minutes.

# %%
lab.recall("11")

# %% [markdown]
# ## 1 · The files
#
# Everything that a learner guesses, answers and checks is kept in one file on the learner's machine. It carries a random
# name, and no other mark of a person or a machine. Nothing is sent anywhere. Each learner runs this line, and hands in
# the file in the way of your course:

# %%
# lab.export_progress()

# %% [markdown]
# ## 2 · Guesses before and after talking
#
# A learner may change a guess until the answer is shown. The first one counts as *before*, the last one as *after* the
# discussion. Where *after* is further from the check mark than *before*, a loud voice was wrong.

# %%
for key in lab.most_answered(records)[1:3]:
    lab.show_class_guesses(records, key)

# %% [markdown]
# ## 3 · Mistakes
#
# What the checks noticed, by the number of learners. A mistake that many share is a gap in the lesson, not in the
# learners.

# %%
lab.show_class_mistakes(records)

# %% [markdown]
# ## 4 · The class's experiment
#
# Each learner trains one seed of KD, of KD with turned views, and of SSKD, on 300 labels with the short schedule. The
# seed comes from the random name in the learner's file, so no two learners train the same one. It takes about a minute
# on a laptop. Remove the `#` to train yours:

# %%
# lab.train_class_seed(kit)

# %%
lab.predict("11-ahead")

# %%
gaps = lab.pooled_gaps(records)
mean, half = sskd.evaluation.interval(gaps)
ahead = 100 * sum(gap > 0 for gap in gaps) / len(gaps)
lab.show_class_experiment(records)
lab.reveal("11-ahead", ahead, f"{len(gaps)} seeds: {mean:+.2f} ± {half:.2f} points.")

# %%
lab.exit_ticket("11")

# %% [markdown]
# ## Check yourself
#
# 1. A class of 30 finds +0.3 ± 0.5 points. What may it claim?
# 2. Why must the board pair the two trainings of a learner?
# 3. Twenty learners handed in, ten did not, because their result "looked wrong". What happens to the mean?
#
# <details><summary>Answers</summary>
#
# 1. That the effect is probably between −0.2 and +0.8 points. Not that there is none, and not that there is one.
# 2. Both share labelled images, first weights and order. The difference removes what they have in common.
# 3. It is biased towards the expected result. Every trained seed must be handed in.
#
# </details>
#
# ## What is claimed, what was measured
#
# | The claim | Measured here | Not tested |
# |---|---|---|
# | $L_{ss}$ adds accuracy | the class's seeds, paired | other images, networks and schedules |
# | Talking brings guesses nearer to the truth | your class's guesses, before and after | whether it lasts |
#
# ## Three lines to keep
#
# 1. One seed is a dot; a class is an interval.
# 2. Hand in every result, also the one that looks wrong.
# 3. The mistakes that many make show where the lesson has a gap.
#
# Next: [12 · SSKD in your own code](12_your_own_sskd.ipynb)
