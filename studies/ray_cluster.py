"""A Ray cluster on this machine whose nodes can be killed: a head without cores, and nodes with one each."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

GIVES_UP_SECONDS = 10
"""After so long without the head the nodes and the run end: a sixth of Ray's own default."""
STARTS = 5
"""A node that is not there after 30 s gives itself up: on a machine that is busy it is tried again."""
_STARTED = "Ray runtime started"


class RayCluster:
    """Started by `ray start`, as on machines of their own. `folder` holds what the nodes say."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._place = Path(f"/tmp/soak-ray-{os.getpid()}")  # of sockets, whose paths are short
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.head = self._start(
            *("--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false"),
            *("--temp-dir", str(self._place)),
        )
        try:
            for _ in range(nodes):
                self.nodes.append(self._start("--address", self.address, "--num-cpus", "1"))
        except RuntimeError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kills what is left of it."""
        for node in (self.head, *self.nodes):
            kill(node)
        shutil.rmtree(self._place, ignore_errors=True)

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        """A node that has joined the cluster; raises RuntimeError where none comes to that."""
        self._folder.mkdir(parents=True, exist_ok=True)
        ray = Path(sys.executable).with_name("ray")
        environment = {**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": str(GIVES_UP_SECONDS)}
        for _ in range(STARTS):
            log = self._folder / f"ray-{secrets.token_hex(4)}.log"
            with log.open("wb") as said:
                node = subprocess.Popen(
                    [str(ray), "start", *words, "--block", "--disable-usage-stats"],
                    env=environment,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            while node.poll() is None:
                if _STARTED in log.read_text(encoding="utf-8", errors="replace"):
                    return node
                time.sleep(0.2)
        raise RuntimeError(f"Ray does not start here: see {log}")


def kill(node: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to the node and all that it has started, as where its machine goes down."""
    for process in _tree(node.pid):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    node.wait()


def _tree(root: int) -> list[int]:
    """The process and all below it."""
    found, left = [], [root]
    while left:
        process = left.pop()
        found.append(process)
        with suppress(OSError):
            for thread in Path(f"/proc/{process}/task").iterdir():
                left += map(int, (thread / "children").read_text().split())
    return found
