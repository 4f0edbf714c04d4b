"""Where a run was started, from where the paths in its config are meant that do not begin at a root."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.errors import BenchError
from erasure_bench.foreign.files import SUFFIX, in_file
from erasure_bench.prompt_suites.registry import in_suite_file
from erasure_bench.user_paths import user_path

STARTED = "started_in"
"""The key of run.json that names the folder; it is there only where the config names such a file."""


def started(config: RunConfig) -> dict[str, str]:
    """What run.json says of it."""
    return {STARTED: str(Path.cwd())} if _files(config) else {}


def check_started_here(folder: Path, record: Mapping[str, Any]) -> None:
    """Raises BenchError where the run names a file that lies where it was started, and not here."""
    if STARTED not in record:
        return
    where = Path(record[STARTED])
    for file in _files(RunConfig.model_validate(record["config"])):
        if not file.exists() and (where / file).is_file():
            raise BenchError(
                f"{folder}: the run's {file} is not here, but in {where}: start the command there"
            )


def _files(config: RunConfig) -> list[Path]:
    """The files of suites, code and checkpoints that the config names from the folder of the start."""
    files = [user_path(config.suite)] if in_suite_file(config.suite) else []
    code = (name for name in (*config.methods, *config.evaluators) if in_file(name))
    files += [user_path(name if name.endswith(SUFFIX) else name.rpartition(":")[0]) for name in code]
    files += [user_path(path) for path in config.edits.values()]
    return [file for file in files if not file.is_absolute()]
