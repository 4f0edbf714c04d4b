"""A repository at a commit comes through the hub's own client, and from its cache afterwards."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "2" * 40
FILES = {"config.json": b'{"model_type": "x"}', "sub/weights.bin": b"some weights"}
FETCH = (
    "import sys; from erasure_bench.errors import BenchError\n"
    "from erasure_bench.evaluators.hub_snapshot import hub_snapshot\n"
    "try: print(hub_snapshot(sys.argv[1], 'judge').folder('judge'))\n"
    "except BenchError as error: sys.exit(str(error))"
)


class _Hub(BaseHTTPRequestHandler):
    """One repository with two files at one commit, as the hub answers for it."""

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        content = self._content()
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "RevisionNotFound")
        self.send_header("ETag", f'"{hashlib.sha1(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if with_content and content:
            self.wfile.write(content)

    def _content(self) -> bytes | None:
        path = self.path.partition("?")[0]
        if path == "/":
            return b"the hub"
        if path == f"/api/models/org/name/revision/{COMMIT}":
            siblings = [{"rfilename": name} for name in FILES]
            return json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode()
        if path.startswith(f"/api/models/org/name/tree/{COMMIT}"):
            found = [{"type": "file", "path": name, "size": len(FILES[name]), "oid": "1"} for name in FILES]
            return json.dumps(found).encode()
        return FILES.get(path.removeprefix(f"/org/name/resolve/{COMMIT}/"))

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _fetch(written: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "BENCH_"))}
    return subprocess.run(
        [sys.executable, "-c", FETCH, written],
        env=kept | {"HF_HOME": str(home), "NO_PROXY": "127.0.0.1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_snapshot_is_fetched_once_and_found_without_network(hub: str, tmp_path: Path) -> None:
    fetched = _fetch(f"org/name@{COMMIT}", tmp_path, HF_ENDPOINT=hub)
    assert fetched.returncode == 0, fetched.stderr
    folder = Path(fetched.stdout.strip())
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES

    again = _fetch(f"org/name@{COMMIT}", tmp_path, BENCH_OFFLINE="1")
    assert (again.returncode, again.stdout) == (0, fetched.stdout), again.stderr


def test_a_commit_that_is_not_there_is_one_line(hub: str, tmp_path: Path) -> None:
    refused = _fetch(f"org/name@{'3' * 40}", tmp_path, HF_ENDPOINT=hub)
    assert refused.returncode == 1
    assert f"org/name@{'3' * 40} is missing" in refused.stderr and "Looked in" in refused.stderr
