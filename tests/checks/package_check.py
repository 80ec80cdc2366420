"""Builds sdist and wheel, installs them into environments of their own, and uses them there.

`make wheel-check` does so with the wheel; `make release` with both, and keeps them in dist/. A new environment borrows
the dependencies of the one that runs this, by a .pth file, and gets nothing but the one file.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ("digits_and_sounds", "librispeech", "recordings")

# What a user's program looks like: plain transformers, and one import more.
PROGRAM = """
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration
import hf_tokcomp
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings

audio, text = recordings()[0]
model = Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL, compression="ltbm")
processor = AutoProcessor.from_pretrained(SMALL_MODEL)
content = [{"type": "audio", "path": str(audio)}, {"type": "text", "text": "Transcribe the digits."}]
inputs = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=True,
                                       add_generation_prompt=True, return_dict=True, return_tensors="pt")
output = model.generate(**inputs)[:, inputs["input_ids"].shape[1]:]
print("read:", *processor.batch_decode(output, skip_special_tokens=True), "| spoken:", text)

import hf_tokcomp.patches
last = model.audio_compressor.last
assert 0 < last.tokens_after[0] < last.tokens_before[0], (last.tokens_before, last.tokens_after)
print("imported:", hf_tokcomp.__version__, hf_tokcomp.__file__, hf_tokcomp.patches.__file__, sep="\\n")
"""


def run(*command: str | Path, cwd: Path) -> str:
    """The standard output of a command, which must succeed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        last_lines = "\n".join(done.stdout.splitlines()[-30:])
        raise SystemExit(f"{' '.join(str(part) for part in command[:4])} ... failed:\n{last_lines}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build into a folder; the sdist and the wheel, which is built from it."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path) -> None:
    """Both hold all source files, the checkpoint and the licence; the recipes and the tests are in the sdist alone."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        installed = set(archive.namelist())
    data = [f for folder in CHECKPOINTS for f in (checkpoints() / folder).iterdir()]
    kept = [f.relative_to(ROOT) for f in data if f.is_file()]
    sources = [f.relative_to(ROOT) for package in ("hf_tokcomp", "patches") for f in (ROOT / package).rglob("*.py")]
    data_files = [Path("hf_tokcomp/py.typed"), Path("hf_tokcomp/cards/template.md")]
    data_files += [f.relative_to(ROOT) for f in (ROOT / "hf_tokcomp" / "benchmarks" / "speed" / "configs").iterdir()]
    for file in [*sources, *kept, *data_files]:
        inside = Path("hf_tokcomp") / file if file.parts[0] == "patches" else file
        require(file.as_posix() in names, f"{file} is missing in {sdist.name}")
        require(inside.as_posix() in installed, f"{inside} is missing in {wheel.name}")
    require(any(name.endswith(".dist-info/licenses/LICENSE") for name in installed), "the wheel has no LICENSE")
    for folder in ("recipes", "tests"):
        require(not any(f"{folder}/" in name for name in installed), f"the wheel installs {folder}/")
        for file in (f.relative_to(ROOT) for f in (ROOT / folder).rglob("*.py")):
            require(file.as_posix() in names, f"{file} is missing in {sdist.name}")


def checkpoints() -> Path:
    return ROOT / "hf_tokcomp" / "checkpoints"


def environment_with(file: Path, folder: Path) -> Path:
    """A new environment with this wheel or sdist; the folder of its commands."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    (site,) = {Path(p) for p in folder.rglob("site-packages") if p.is_dir()}
    # A path in a .pth file is searched last, and the .pth files in it (an editable install, say) are not read.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    alone = ["--no-index"] if file.suffix == ".whl" else []  # an sdist fetches what it is built with
    run(
        commands / "python", "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", *alone,
        "--force-reinstall", file, cwd=folder.parent,
    )  # fmt: skip
    return commands


def require(condition: bool, message: str) -> None:
    if not condition:
        raise SystemExit(f"wheel check: {message}")


def check_use(file: Path, folder: Path) -> str:
    """Install a wheel or an sdist and run a user's program with it; what that read."""
    folder.mkdir()
    commands = environment_with(file, folder / "environment")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    said, imported = run(commands / "python", "-c", PROGRAM, cwd=elsewhere).split("imported:\n")
    version, *files = imported.split()
    for each in files:
        require((folder / "environment") in Path(each).resolve().parents, f"{each} is not that of {file.name}")
    require(file.name.startswith(f"hf_tokcomp-{version}"), f"{file.name} says it is version {version}")
    shown = run(commands / "hf-tokcomp", "--version", cwd=elsewhere)
    require(version in re.findall(r"[\w.]+", shown), f"`hf-tokcomp --version` printed {shown!r}, not {version}")
    return said.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", type=Path, help="use the sdist, too, and keep both files in this folder")
    release: Path | None = parser.parse_args().release
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        sdist, wheel = build(folder)
        check_contents(sdist, wheel)
        print(check_use(wheel, folder / "wheel"))
        if release is None:
            print(f"{sdist.name} and {wheel.name} are complete, and the wheel works on its own.")
            return
        print(check_use(sdist, folder / "sdist"))
        release.mkdir(exist_ok=True)
        for file in (sdist, wheel):
            shutil.copy(file, release)
    print(f"{sdist.name} and {wheel.name} are complete, work on their own, and lie in {release}.")


if __name__ == "__main__":
    main()
