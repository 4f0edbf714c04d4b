"""What a registry's `module:name` string points at."""

import importlib
import sys
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.foreign.errors import described
from erasure_bench.foreign.process import left_alone


def load_target(target: str, what: str) -> Any:
    """Imports the module and gives what the name means in it.

    Raises BenchError, in one line that begins with `what`, where that cannot be had.
    """
    module, _, attribute = target.partition(":")
    if attribute in (loaded := vars(sys.modules.get(module) or object)):
        return loaded[attribute]
    try:
        with left_alone("importing its module"):
            return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BenchError(f"{what} cannot be loaded from {target}: {error}") from error
    except Exception as error:  # a package's code, which may do anything
        raise BenchError(f"{what} cannot be loaded from {target}: {described(error, None)}") from error
