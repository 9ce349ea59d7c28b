"""The course: questions with explanations, guesses before the answer, and what a learner has done so far.

The texts are in data/course/*.yaml, one file per notebook. What a learner does is kept in one JSON file on
this machine (progress.py); nothing is sent anywhere.
"""
