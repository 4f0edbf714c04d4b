"""What every benchmark writes down beside its figures: date, machine, versions."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erasure_bench.bench.running.versions import hardware, package_versions
from erasure_bench.bench.storage.atomic import write_text


def record(figures: Mapping[str, Any], out: Path) -> None:
    """Writes the figures to `out` and prints them, as JSON, with when and on what they were measured."""
    document = {
        **figures,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {**hardware(), "load_average": round(os.getloadavg()[0], 1)},
        "python": platform.python_version(),
        "versions": package_versions(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_text(out, text + "\n")
    print(text)
