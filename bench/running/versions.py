"""What a result was made with: packages, code revision, hardware."""

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "nudenet",
    "onnxruntime",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "safetensors",
)


@functools.cache
def package_versions() -> dict[str, str]:
    """Versions of Python, this project and what its numbers rest on; absent packages are left out."""
    from erasure_bench import __version__

    found = {"python": platform.python_version(), "erasure-bench": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def made_on(device: str) -> dict[str, Any]:
    """What an entry of the store says of the machine that made it."""
    return {"device": device, "device_name": device_name(device), "versions": package_versions()}


def git_revision() -> dict[str, Any] | None:
    """Commit of the checkout that this code runs from, and whether it was changed; None outside of git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "changed": bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def this_version() -> str:
    """One line: this project with its commit where there is one, Python, torch. Imports none of them."""
    found, git = package_versions(), git_revision()
    commit = f" (commit {git['commit'][:12]}{', changed' if git['changed'] else ''})" if git else ""
    ours = f"erasure-bench {found['erasure-bench']}{commit}"
    return f"{ours}, Python {found['python']}, torch {found.get('torch', 'absent')}"


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, memory; never the machine's name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores,
        "memory_gib": _memory_gib(),
    }


@functools.cache
def device_name(device: str) -> str:
    """The GPU's name, or the processor's; imports torch for a GPU."""
    if not device.startswith("cuda"):
        return _processor()
    import torch

    return str(torch.cuda.get_device_name(device))


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None
