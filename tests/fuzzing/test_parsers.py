"""Every parser ends well or in a BenchError, whatever it is given: by chance, and by what once broke it."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erasure_bench.errors import BenchError
from fuzzing.harness import Harness, survives
from fuzzing.mutations import mutated
from fuzzing.registry import PARSERS, harness
from fuzzing.search import blind

EXAMPLES = {"leaderboard-json": 12, "run-json": 12}
MOST_SECONDS, MOST_MEMORY = 20, 300 << 20
"""CPU time and memory that an input may take which once took them without end."""
BOMBED = ("numpy-pickle", "array-file", "checkpoint", "packed-run")
"""Parsers that small inputs made take all memory."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PARSERS)
def test_no_change_of_a_good_input_breaks_a_parser(name: str) -> None:
    attacked = harness(name)
    seeds = attacked.seeds()

    @settings(
        max_examples=EXAMPLES.get(name, 40),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def attack(chance: Random) -> None:
        survives(attacked, mutated(chance.choice(seeds), chance))

    attack()


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_takes_some_of_its_examples(name: str) -> None:
    """Else a search would knock at a closed door."""
    attacked = harness(name)
    assert any(survives(attacked, data) for data in attacked.seeds())


def test_most_typed_examples_are_obeyed() -> None:
    """A command that ends in an error is refused, not taken: else nobody would see that none gets further."""
    attacked = harness("command-line")
    obeyed = [survives(attacked, data) for data in attacked.seeds()]
    assert sum(obeyed) > len(obeyed) / 2
    assert not survives(attacked, b"table runs/nowhere")
    assert not survives(attacked, b"train microworld")


def test_no_input_waits_for_what_hangs_on_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read what every installed package offers took ten times as long as to parse the settings."""
    attacked = harness("method-settings")
    assert survives(attacked, b"esd-x\n")
    monkeypatch.setattr("importlib.metadata.distributions", lambda **_: pytest.fail("read again"))
    assert survives(attacked, b"esd-x\n")


def _laughs() -> bytes:
    """Forty lists, each of which holds the one before it twice."""
    steps = (
        b"]q" + bytes([number + 1]) + b"(h" + bytes([number]) + b"h" + bytes([number]) + b"e"
        for number in range(40)
    )
    return b"\x80\x02]q\x00" + b"".join(steps) + b"."


def _tar(size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header with this size in it, and a checksum that fits."""
    about = tarfile.TarInfo("run/run.json")
    about.type = kind
    head = bytearray(about.tobuf(tarfile.USTAR_FORMAT))
    head[124:136] = size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(1024)


def _zeros(size: int) -> bytes:
    """A run whose table is `size` zeros, packed to a thousandth."""
    out = io.BytesIO()
    with tarfile.open(mode="w:gz", fileobj=out) as archive:
        about = tarfile.TarInfo("run/leaderboard.md")
        about.size = size
        archive.addfile(about, io.BytesIO(bytes(size)))
    return out.getvalue()


def _expanded() -> bytes:
    out = io.BytesIO()
    torch.save({"unet.a": torch.zeros(1).expand(2**40)}, out)
    return out.getvalue()


def _packed_checkpoint() -> bytes:
    made, out = io.BytesIO(), io.BytesIO()
    torch.save({"unet.a": torch.zeros(2**24)}, made)
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    return out.getvalue()


def _changed(name: str, change: Callable[[Any], object]) -> bytes:
    document = json.loads(harness(name).seeds()[0])
    change(document)
    return json.dumps(document).encode()


DEEP = b"[" * 100_000
FOUND: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a key that is a day": ("gate-policy", lambda: b"format: erasure-bench gate 1\n2020-01-01: x\n"),
    "a key of bytes": ("gate-policy", lambda: b"format: erasure-bench gate 1\n!!binary eA==: x\n"),
    "a number of 6,000 digits": ("entry", lambda: b"name: 0x" + b"f" * 5000 + b"\n"),
    "no timestamp": ("entry", lambda: b"name: !!timestamp never\n"),
    "no truth": ("run-file", lambda: b"suite: !!bool x\n"),
    "no number": ("run-file", lambda: b'suite: !!int ""\n'),
    "no fraction": ("run-file", lambda: b'suite: !!float ""\n'),
    "300,000 values": ("suite-yaml", lambda: b"a: [" + b"a," * 300_000 + b"]"),
    "150,000 references": (
        "suite-yaml",
        lambda: b"a: &a [x]\n" + b"".join(b"b%d: *a\n" % number for number in range(150_000)),
    ),
    "an option of one value": ("suite-yaml", lambda: b"options: {set: [a]}\n"),
    "60,000 commas": ("run-file", lambda: b'suite: a\nmethods: "' + b"," * 60_000 + b'"'),
    "rows that nest": ("prompts-json", lambda: b'{"a":' + DEEP),
    "300,000 rows": ("prompts-json", lambda: b'{"a":[' + b"1," * 300_000 + b"1]}"),
    "an index that nests": ("weights-json", lambda: b'{"weight_map":' + DEEP),
    "20,000 metrics": (
        "ratings",
        lambda: b"".join(b"# metric: m%d:higher:0:1\n" % number for number in range(20_000)) + b"value\n",
    ),
    "20,000 columns": (
        "ratings",
        lambda: b"# metric: m:higher:0:1\n" + b",".join(b"c%d" % number for number in range(20_000)),
    ),
    "a list numbered 2,147,483,647": ("numpy-pickle", lambda: b"\x80\x02]r\xff\xff\xff\x7f."),
    "an array numbered 2,147,483,647": ("array-file", lambda: b"\x80\x02]r\xff\xff\xff\x7f."),
    "lists within lists": ("numpy-pickle", _laughs),
    "lists within lists for an array": ("array-file", _laughs),
    "a terabyte of nothing": ("array-file", lambda: b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"."),
    "a number shown 2^40 times": ("checkpoint", _expanded),
    "a packed checkpoint": ("checkpoint", _packed_checkpoint),
    "an address of 20,000 characters": ("remote", lambda: b"s3:/" + b"a" * 20_000),
    "an address of no text": ("remote", lambda: b"gs://b\xff\x7fket"),
    "a domain of another kind": ("remote", lambda: b"gs://bucket%YAML 9.9"),
    "a table that is a list": ("robustness-json", lambda: b"[]"),
    "a row that is a number": (
        "robustness-json",
        lambda: _changed("robustness-json", lambda table: table.update(rows=[3])),
    ),
    "a rate in words": (
        "robustness-json",
        lambda: _changed("robustness-json", lambda table: table["rows"][0]["any"].update(value="much")),
    ),
    "a title that is none": (
        "robustness-json",
        lambda: _changed("robustness-json", lambda table: table.update(title=None)),
    ),
    "a learning rate that is no number": ("attack-settings", lambda: b"p4d\n\nlearning_rate=nan"),
    "a prompt that nests": ("method-settings", lambda: b"sa\n\nsurrogate=" + DEEP),
    "a name of 20,000 characters": ("method-settings", lambda: b"a" * 20_000),
    "an endless picture": ("evaluator-settings", lambda: b"clip\n\nbatch_size=inf"),
    "a size below nought": ("packed-run", lambda: _tar(b"\xff" * 10 + b"\xfc\x00")),
    "a name of a gigabyte": ("packed-run", lambda: _tar(b"10000000000\0", tarfile.XHDTYPE)),
    "100 MiB of zeros": ("packed-run", lambda: _zeros(100 << 20)),
}


@pytest.mark.parametrize("label", FOUND)
def test_what_broke_a_parser_is_refused(label: str) -> None:
    name, made = FOUND[label]
    attacked, data = harness(name), made()
    started = time.process_time()
    if name in BOMBED:
        tracemalloc.start()
    try:
        assert not survives(attacked, data)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < MOST_SECONDS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("plan", None), ("suite", None), ("versions", ["torch"]), ("drawn_with", 3), ("collapsed", 4)),
        *(("rows", [{}]), ("evaluators", {"fake": {}}), ("maxima", [{}]), ("seeds", "0")),
    ],
)
def test_a_forged_leaderboard_is_refused(key: str, value: object) -> None:
    attacked = harness("leaderboard-json")
    (good,) = attacked.seeds()
    document = json.loads(good)
    document[key] = value
    assert not survives(attacked, json.dumps(document).encode())
    del document[key]
    assert not survives(attacked, json.dumps(document).encode()) or key in ("collapsed", "maxima")


def test_arrays_of_every_kind_are_still_taken() -> None:
    """The bounds on pickles refuse none that holds what it says."""
    array = np.zeros((50, 50), np.float32)
    for value in (array, array.tolist(), {"a": array}):
        for protocol in (2, 3, 4):
            assert survives(harness("array-file"), pickle.dumps(value, protocol))


def test_a_search_tells_faults_from_refusals(tmp_path: Path) -> None:
    """A search that finds nothing in a parser without a fault must find one where there is."""

    def parse(data: bytes) -> None:
        if len(data) == 1:
            raise BenchError("too short")
        if b"a" not in data:
            raise KeyError("a")
        if len(data) > 400:
            raise BenchError("x" * 30_000)

    search = blind(Harness("broken", "nothing", lambda: [b"a", b"banana"], parse), tmp_path, 1.0)
    assert search.inputs > 100 and search.taken
    kinds = {what.split(" in ")[0] for what in search.faults}
    assert kinds == {"KeyError", "AssertionError"}
    assert b"a" not in (tmp_path / "fault-1").read_bytes() or len((tmp_path / "fault-1").read_bytes()) > 400


def test_changes_are_the_same_for_the_same_chance() -> None:
    data = gzip.compress(b"abc", mtime=0)
    first, again = ([mutated(data, Random(seed)) for seed in range(9)] for _ in range(2))
    assert first == again and len(set(first)) > 3
