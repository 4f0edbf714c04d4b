"""Whether packages can be imported: found out in a process of its own, which a broken one may end."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

LONGEST_SECONDS = 120.0

_CHILD = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
for name in sys.argv[3:]:
    reason = ""
    try:
        importlib.import_module(name)
    except BaseException as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    with open(sys.argv[2], "a", encoding="utf-8") as answers:
        answers.write(json.dumps([name, reason]) + "\\n")
"""


def import_problems(modules: Sequence[str]) -> Mapping[str, str]:
    """Why each module that cannot be imported cannot; one that ends Python does not hide the next."""
    problems: dict[str, str] = {}
    waiting = list(dict.fromkeys(modules))
    while waiting:
        answers, end = _try(waiting)
        problems |= {name: reason for name, reason in answers.items() if reason}
        waiting = waiting[len(answers) :]
        if waiting:  # the first without an answer is the one that ended the process
            problems[waiting.pop(0)] = f"importing it {end}"
    return problems


def _try(modules: Sequence[str]) -> tuple[dict[str, str], str]:
    """The answers, module by module as far as they go, and how the process ended."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers"
        file.touch()
        words = [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), str(file), *modules]
        try:
            done = subprocess.run(words, capture_output=True, timeout=LONGEST_SECONDS)
            end = f"ended Python (exit code {done.returncode})"
        except subprocess.TimeoutExpired:
            end = f"took more than {LONGEST_SECONDS:g} s"
        lines = file.read_text(encoding="utf-8").splitlines()
    return dict(json.loads(line) for line in lines), end
