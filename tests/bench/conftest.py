"""The harness' tests run on `fake_run.py`: everything real but the networks."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FAKE_RUN = Path(__file__).with_name("fake_run.py")


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module `fake_run`."""
    spec = importlib.util.spec_from_file_location("bench_tests_fake_run", FAKE_RUN)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
