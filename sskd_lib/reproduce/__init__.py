"""The tables of the paper: their cells, their published figures, and the results of running them again."""
