"""What edits share is made once for each base, dtype, maker and key."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from erasure_bench.bench.storage.cache import TENSORS_FILE, StoreCache
from erasure_bench.bench.storage.store import Store


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"a": torch.arange(6).reshape(2, 3).to(torch.float64), "b": torch.ones(2, dtype=torch.uint8)}


def fetch(cache: StoreCache, make: Callable[[], dict[str, Tensor]], **key: object) -> dict[str, Tensor]:
    return cache.fetch("erasure_bench.methods.base", key, make)


def test_made_once_and_the_same_when_read_again(tmp_path: Path) -> None:
    make = Maker()
    with Store(tmp_path) as store:
        first = fetch(StoreCache(store, "base", "float32"), make, prompts=["x"])
    again = fetch(StoreCache(Store(tmp_path), "base", "float32"), make, prompts=["x"])

    assert make.calls == 1
    assert first.keys() == again.keys() == {"a", "b"}
    for name in first:
        torch.testing.assert_close(again[name], first[name], rtol=0, atol=0)


def test_another_base_dtype_or_key_is_another_entry(tmp_path: Path) -> None:
    make = Maker()
    with Store(tmp_path) as store:
        fetch(StoreCache(store, "base", "float32"), make, steps=1)
        fetch(StoreCache(store, "base", "float32"), make, steps=2)
        fetch(StoreCache(store, "base", "bfloat16"), make, steps=1)
        fetch(StoreCache(store, "other", "float32"), make, steps=1)
    assert make.calls == 4


def test_a_damaged_entry_is_said_and_made_anew(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        fetch(StoreCache(store, "base", "float32"), Maker(), steps=1)
    (path,) = tmp_path.glob(f"cache/*/*/{TENSORS_FILE}")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    make, said = Maker(), list[str]()

    with Store(tmp_path, said.append) as store:
        for _ in range(2):
            found = fetch(StoreCache(store, "base", "float32"), make, steps=1)
            torch.testing.assert_close(found["b"], Maker()()["b"], rtol=0, atol=0)

    assert make.calls == 1
    (line,) = said
    assert f"{TENSORS_FILE} is damaged (sha256 differs); moved to damaged/, to be made anew" in line


def test_what_was_spared_is_counted_once(tmp_path: Path) -> None:
    """An edit's cost is the same whether the pictures were there or not."""

    def inner() -> dict[str, Tensor]:
        time.sleep(0.05)
        return {"it": torch.zeros(1)}

    def outer(cache: StoreCache) -> dict[str, Tensor]:
        time.sleep(0.05)
        return cache.fetch("erasure_bench.methods.base", {"of": "inner"}, inner)

    with Store(tmp_path) as store:
        first = StoreCache(store, "base", "float32")
        first.fetch("erasure_bench.methods.base", {"of": "inner"}, inner)
        first.fetch("erasure_bench.methods.base", {"of": "outer"}, lambda: outer(first))
        assert first.kept_seconds == 0.0  # all was made here

        second = StoreCache(store, "base", "float32")
        second.fetch("erasure_bench.methods.base", {"of": "inner"}, inner)
        assert 0.05 <= second.kept_seconds < 1.0
        third = StoreCache(store, "base", "float32")
        for _ in range(2):
            third.fetch("erasure_bench.methods.base", {"of": "outer"}, lambda: outer(third))
        assert 0.05 <= third.kept_seconds < 1.0
