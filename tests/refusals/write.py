"""Write the tables of answers again: python tests/refusals/write.py [AREA …]."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers.refusals import AREAS, answer, of_area, write_table

torch.set_num_threads(1)
for area in sys.argv[1:] or AREAS:
    answers = {}
    for bad in of_area(area):
        with tempfile.TemporaryDirectory() as folder:
            answers[bad.words] = answer(bad, Path(folder))
    write_table(area, answers)
    print(f"{area}: {len(answers)} kinds")
