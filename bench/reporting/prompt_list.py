"""prompts.parquet: what a run asked the model for, word for word, so that its pictures can be read later."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from erasure_bench.bench.reporting.run_file import bound
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.suite import Prompt

PROMPTS = "prompts.parquet"
_SCHEMA = pa.schema([("prompt_id", pa.string()), ("role", pa.string()), ("text", pa.string())])


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Writes one row for each prompt, columns prompt_id, role, text. Raises OSError."""
    rows = [{"prompt_id": each.id, "role": each.role, "text": each.text} for each in prompts]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), path)


def read_prompts(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Each prompt's text by its id; none where the run was made before runs wrote them down.

    Raises BenchError where the file is not what the run wrote.
    """
    if PROMPTS not in record["files"]:
        return {}
    data = bound(folder, record, PROMPTS)
    try:
        table = pq.read_table(pa.BufferReader(data), columns=_SCHEMA.names).cast(_SCHEMA)
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise BenchError(f"{folder / PROMPTS}: this is no list of prompts: {error}") from error
    return dict(zip(table["prompt_id"].to_pylist(), table["text"].to_pylist(), strict=True))
