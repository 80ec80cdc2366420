"""What transformers and peft bring past our bounds: installs them beside, tells what changed, runs the patch tests.

`make upstream`, which names the folders of tests; run by the Python of the environment with the newest that the bounds
allow. It looks ahead, so nothing that it finds is a failure: the exit status is 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from package_check import ROOT

AHEAD = ROOT / ".venv-upstream"
PACKAGES = ("transformers", "peft")

# The signatures that patches rely on, by class and method.
SIGNATURES = """
import inspect, json, transformers, hf_tokcomp
found = {}
for patch in hf_tokcomp.supported_models().values():
    for name in patch.model_classes:
        for method in patch.relies_on:
            function = getattr(getattr(transformers, name, None), method, None)
            found[f"{name}.{method}"] = [] if function is None else list(inspect.signature(function).parameters)
print(json.dumps(found))
"""


def pip(python: str | Path, *arguments: str) -> str:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def ahead() -> dict[str, str]:
    """What pip would change for the newest of the two packages; empty where the bounds have that already."""
    report = pip(sys.executable, "install", "--quiet", "--dry-run", "--report", "-", "--upgrade", *PACKAGES)
    planned = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in json.loads(report)["install"]}
    return planned if any(name in planned for name in PACKAGES) else {}


def environment(planned: dict[str, str]) -> Path:
    """An environment that borrows this one's packages, with the planned ones before them; its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(AHEAD)], check=True)
    python = AHEAD / "bin" / "python"
    pip(python, "install", "--no-deps", *(f"{name}=={version}" for name, version in planned.items()))
    (site,) = AHEAD.rglob("site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def signatures(python: str | Path) -> dict[str, list[str]]:
    printed = subprocess.check_output([str(python), "-c", SIGNATURES], cwd=ROOT.parent, text=True)
    found: dict[str, list[str]] = json.loads(printed)
    return found


def changes(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """What is gone and what is new, a line for each method."""
    lines = []
    for name, parameters in before.items():
        gone = [p for p in parameters if p not in after[name]]
        new = [p for p in after[name] if p not in parameters]
        if gone or new:
            lines.append(f"{name}: gone {', '.join(gone) or 'nothing'}; new {', '.join(new) or 'nothing'}")
    return lines or ["The signatures that patches rely on are unchanged."]


def main() -> None:
    held = {name: metadata.version(name) for name in PACKAGES}
    planned = ahead()
    if not planned:
        print(f"Nothing newer is out than what the bounds allow: {held}.")
        return
    print(f"Past the bounds: {planned}; within them: {held}.")
    python = environment(planned)
    print("\n".join(changes(signatures(sys.executable), signatures(python))))
    command = ["-P", "-m", "pytest", "-q", "-n", "2", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    command += ["--confcutdir", ".", "-p", "no:cacheprovider", *sys.argv[1:]]
    done = subprocess.run([str(python), *command], cwd=ROOT / "tests", check=False)
    print(f"The patch tests {'passed' if done.returncode == 0 else 'did not all pass'} there.")


if __name__ == "__main__":
    main()
