"""Import time of `hf_tokcomp` compared with `from transformers import PreTrainedModel`, each in a fresh process.

``python -m recipes.import_time [ROUNDS]`` alternates between them and prints both medians in seconds of processor time
(user and system), since wall-clock time depends on other load.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

OURS = "import hf_tokcomp"
UPSTREAM = "from transformers import PreTrainedModel"
ROUNDS = 9


def processor_seconds(program: str) -> float:
    """User and system time of a fresh process that runs a program."""
    before = os.times()
    subprocess.run([sys.executable, "-c", program], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measure(rounds: int = ROUNDS, programs: tuple[str, ...] = (UPSTREAM, OURS)) -> dict[str, float]:
    """The median processor time of each program, after a round that only warms up the file cache."""
    seconds = [[processor_seconds(program) for program in programs] for _ in range(rounds + 1)][1:]
    return {
        program: statistics.median(column) for program, column in zip(programs, zip(*seconds, strict=True), strict=True)
    }


if __name__ == "__main__":
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
    for name, median in found.items():
        print(f"{median:6.2f} s  {name}")
    print(f"{100 * (found[OURS] / found[UPSTREAM] - 1):+.1f} %")
