"""Which cluster `--executor ray` works on, without Ray itself: it is asked the right thing, or not at all."""

import socket
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from erasure_bench.bench.running.on_ray import RayTasks
from erasure_bench.errors import BenchError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray is begun with."""
    found: list[dict[str, Any]] = []
    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **how: found.append(how),
        cluster_resources=dict,
        remote=lambda **how: lambda task: task,
        shutdown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    return found


def test_without_an_address_it_is_a_cluster_of_its_own(asked: list[dict[str, Any]]) -> None:
    """Ray's own default joins a cluster that somebody else began on this machine."""
    RayTasks(None)
    assert [how["address"] for how in asked] == ["local"]


def test_an_address_where_somebody_answers_is_handed_on(asked: list[dict[str, Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        RayTasks(address)
        RayTasks(f"ray://{address}")
    RayTasks("auto")
    assert [how["address"] for how in asked] == [address, f"ray://{address}", "auto"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "ray://127.0.0.1:1"])
def test_an_address_where_nobody_is_is_refused_at_once(asked: list[dict[str, Any]], address: str) -> None:
    """Ray tries for minutes, and says nothing."""
    started = time.monotonic()
    with pytest.raises(BenchError, match="--ray-address .*: nobody answers there") as refused:
        RayTasks(address)
    assert not asked and time.monotonic() - started < 15 and "\n" not in str(refused.value)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:x", "head:99999", "head:٣"])
def test_what_is_no_address_is_refused(asked: list[dict[str, Any]], address: str) -> None:
    with pytest.raises(BenchError, match="HOST:PORT"):
        RayTasks(address)
    assert not asked
