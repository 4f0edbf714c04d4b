"""Where the upstream prompt files lie, if anywhere: $BENCH_DATA, else beside the checkout."""

import os
from pathlib import Path

UPSTREAM = Path(
    os.environ.get("BENCH_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data"
).resolve()
