"""The digest that names an evaluator's weights follows their content, whatever time a user gives the file."""

import os
import time
from pathlib import Path

from erasure_bench.evaluators.digests import sha256_of


def test_other_content_of_the_same_size_and_time_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    digests = set()
    for content in (b"a" * 100, b"b" * 100):
        path.write_bytes(content)
        os.utime(path, (1_000_000, 1_000_000))
        digests |= {sha256_of(path), sha256_of(tmp_path)}
        time.sleep(0.01)  # the kernel's clock of inodes ticks every few milliseconds
    assert len(digests) == 4
