"""How long `import sskd_lib` takes beyond `import torch`: a fresh process each time.

python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys, time, torch
before, start = len(sys.modules), time.perf_counter()
import sskd_lib
print(time.perf_counter() - start, len(sys.modules) - before)
"""


def main(count: int = 7) -> None:
    """Print the median and range over `count` processes, and how many modules come with it."""
    seconds, modules = [], 0
    for _ in range(count):
        command = [sys.executable, "-c", SCRIPT]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        seconds.append(float(printed[0]))
        modules = int(printed[1])
    low, median, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"import sskd_lib beyond torch: {median:.2f} s ({low:.2f} to {high:.2f}), {modules} modules more")


if __name__ == "__main__":
    main()
