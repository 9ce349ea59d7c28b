"""The tables of the paper: their cells, their printed figures, and what was measured here."""
