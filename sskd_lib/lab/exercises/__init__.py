"""Exercises: the learner writes a function of the method, and is told which mistake was made.

One file per topic holds the exercises: their random cases, the right values (the library's), and the known
mistakes as small wrong functions. guard.py runs a learner's code; judge.py finds the mistake.
"""
