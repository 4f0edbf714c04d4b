"""A finished run made in seconds without networks: the tests' own."""

import importlib.util
from pathlib import Path

MADE_BY = Path(__file__).resolve().parents[1] / "tests" / "bench" / "fake_run.py"


def small_run(store: Path, out: Path) -> None:
    """Writes its results to `out`."""
    spec = importlib.util.spec_from_file_location("fake_run", MADE_BY)
    assert spec is not None and spec.loader is not None
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    fake.run(fake.tiny_plan(suite=fake.tiny_suite(prompts=2)), store, out)
