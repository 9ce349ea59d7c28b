"""The clinic: recorded trainings with one mistake each, for a learner to find by curves and matrices."""
