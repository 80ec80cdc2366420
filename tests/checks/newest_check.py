"""What a newcomer does, with the package as installed: quickstart, demo, a short finetune, an eval; `make newest`.

Run by the Python of the environment that is tested, from anywhere but the repository.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import package_check

# In three steps a model learns nothing; that all of it runs, and under compression, is what is looked at.
FINETUNE = (
    "finetune --dataset rows.jsonl --compression average_pooling --output-dir trained --max-steps 3 "
    "--per-device-train-batch-size 2 --eval-dataset rows.jsonl --report-to none --use-cpu --max-new-tokens 4 "
    "--eval-strategy steps --eval-steps 3"
)
EVAL = [
    *["eval", "librispeech", "--dataset", "rows.jsonl", "--compression", "ltbm", "--items", "4", "--output", "results"],
    *("--prompt", "Transcribe the digits."),
]


def main() -> None:
    import hf_tokcomp

    package_check.require(
        package_check.ROOT not in Path(hf_tokcomp.__file__).resolve().parents or "site-packages" in hf_tokcomp.__file__,
        f"{hf_tokcomp.__file__} is the checkout, not an installed package",
    )
    commands = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        print(package_check.run(sys.executable, "-c", package_check.PROGRAM, cwd=folder).split("imported:")[0].strip())
        from hf_tokcomp.checkpoints import recordings

        rows = [json.dumps({"audio": str(audio), "text": text}) for audio, text in recordings()]
        (folder / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        for arguments in (["models"], ["demo"], FINETUNE.split(), EVAL):
            print(f"$ hf-tokcomp {shlex.join(arguments)}", flush=True)
            subprocess.run([str(commands / "hf-tokcomp"), *arguments], cwd=folder, check=True)
        answer = package_check.run(commands / "hf-tokcomp", "run", "--model", "trained", "--json", cwd=folder)
        read = json.loads(answer)
        method = read["compression"]["method"]
        package_check.require(method == "average_pooling", f"the adapter was loaded under {method!r}")
        print("$ hf-tokcomp run --model trained:", *(f"{row['text']!r}" for row in read["results"]))
    for package in ("torch", "transformers", "peft", "accelerate", "datasets"):
        print(package, metadata.version(package))


if __name__ == "__main__":
    main()
