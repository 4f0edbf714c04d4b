"""Machines that share nothing but a bucket: what one has finished no other does again, and nothing is lost.

The bucket is one of a real S3 server on this machine; the runs are real but for the networks.
"""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.cli.paths import check_store
from erasure_bench.bench.reporting.completing import complete
from erasure_bench.bench.reporting.results import write_results
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage import bucket_claims, two_levels
from erasure_bench.bench.storage.bucket_claims import claims_of
from erasure_bench.bench.storage.claims import Claim, TaskClaims
from erasure_bench.bench.storage.manifest import MANIFEST
from erasure_bench.bench.storage.remote import Remote
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.storage.two_levels import Exchanged, TwoLevelStore, opened
from erasure_bench.errors import BenchError

obstore = pytest.importorskip("obstore")
from_url = pytest.importorskip("obstore.store").from_url
SERVER = os.environ.get("MOTO_SERVER") or shutil.which("moto_server")
"""moto's S3 server, in an environment of its own where need be: it wants packages that pandas has newer."""


class Wire:
    """Carries what comes to its port to another one, until it is cut."""

    def __init__(self, to: int, port: int = 0) -> None:
        self._to, self._ends, self.carried = to, list[socket.socket](), 0
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        for end in (self._listening, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(2**16):
                other.sendall(data)
                self.carried += len(data)
            other.shutdown(socket.SHUT_WR)


class Bucket:
    """A bucket on a server, and the wire to it."""

    def __init__(self, port: int) -> None:
        self._port, self.wire, self.url = port, Wire(port), ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.wire.port}"

    def make(self, name: str) -> None:
        self._ask("PUT", name)  # moto makes one for anybody
        self.url = f"s3://{name}/shared"

    def go(self) -> None:
        self.wire.cut()

    def come_back(self) -> None:
        self.wire = Wire(self._port, self.wire.port)

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self._own, key).bytes())

    def write(self, key: str, data: bytes) -> None:
        obstore.put(self._own, key, data)

    @property
    def _own(self) -> Any:
        """A client of the test's own, past what is tested."""
        return from_url(self.url, client_options={"allow_http": True})

    def _ask(self, how: str, name: str) -> None:
        asked = urllib.request.Request(f"{self.address}/{name}", method=how)
        urllib.request.urlopen(asked, timeout=30).close()


@pytest.fixture(scope="module")
def running() -> Iterator[Bucket]:
    if SERVER is None:
        pytest.skip("no S3 server here: pip install 'moto[s3]' flask flask-cors, and name its moto_server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [SERVER, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None and time.monotonic() < until, "the S3 server does not start"
            time.sleep(0.1)
        bucket = Bucket(port)
        yield bucket
        bucket.go()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(running: Bucket, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty one, with credentials that open it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    running.make(f"bucket-{abs(hash(request.node.nodeid)) % 10**9}")
    return running


class Machine:
    """One with a store of its own; what it did and said."""

    def __init__(self, fake: ModuleType, folder: Path, url: str) -> None:
        self.fake, self.folder, self.url = fake, folder, url
        self.said: list[str] = []
        self.done: list[str] = []
        self.exchanged = Exchanged(0, 0)

    def run(self, before: Callable[[Any], None] = lambda worker: None) -> bytes:
        """The whole run; what the leaderboard's rows are."""
        plan = self.fake.tiny_plan()
        with opened(self.folder / "store", self.url, self.said.append) as store:
            assert isinstance(store, TwoLevelStore)
            self.exchanged = store.exchange((task.kind, task.id) for task in plan.tasks)
            worker = self.fake.FakeWorker(store)
            before(worker)
            _, results = complete(plan, worker, store, Quiet)
            write_results(self.folder / "out", plan, results, {}, store)
            self.done = worker.calls
        rows = json.loads((self.folder / "out" / "leaderboard.json").read_text())["rows"]
        return json.dumps(rows).encode() + (self.folder / "out" / "scores.parquet").read_bytes()


def machine(fake: ModuleType, tmp_path: Path, bucket: Bucket, name: str) -> Machine:
    return Machine(fake, tmp_path / name, bucket.url)


def key_of(task: Any) -> str:
    return f"{task.kind}/{task.id[:2]}/{task.id}.tar"


def test_what_one_machine_has_finished_no_other_does_again(
    fake: ModuleType, tmp_path: Path, bucket: Bucket
) -> None:
    one, two = (machine(fake, tmp_path, bucket, name) for name in ("one", "two"))
    first, tasks = one.run(), fake.tiny_plan().tasks
    assert len(one.done) == len(tasks) and one.exchanged == (0, 0)
    assert two.run() == first
    assert two.done == [] and two.exchanged == (len(tasks), 0)
    assert one.said == two.said == []
    for task in tasks:
        mine, theirs = (Store(each.folder / "store").folder(task.kind, task.id) for each in (one, two))
        names = sorted(path.name for path in mine.iterdir())
        assert names == sorted(path.name for path in theirs.iterdir())
        assert all((mine / name).read_bytes() == (theirs / name).read_bytes() for name in names)
    assert list((two.folder / "store" / "tmp").iterdir()) == []


def test_what_a_store_had_before_there_was_a_bucket_is_sent(
    fake: ModuleType, tmp_path: Path, bucket: Bucket
) -> None:
    fake.completed(fake.tiny_plan(), tmp_path / "one" / "store")
    one, two = (machine(fake, tmp_path, bucket, name) for name in ("one", "two"))
    one.run()
    assert one.done == [] and one.exchanged == (0, len(fake.tiny_plan().tasks))
    two.run()
    assert two.done == []


def test_two_at_once_take_over_what_the_other_has_just_finished(
    fake: ModuleType, tmp_path: Path, bucket: Bucket
) -> None:
    """The second begins when nothing is there, and finds all of it when it comes to it."""
    one, two = (machine(fake, tmp_path, bucket, name) for name in ("one", "two"))
    two.run(before=lambda worker: one.run() and None)
    assert len(one.done) == len(fake.tiny_plan().tasks) and two.done == []


def test_two_machines_at_once_share_a_run_and_do_nothing_twice(
    fake: ModuleType, tmp_path: Path, bucket: Bucket
) -> None:
    """They have nothing in common but the bucket: claims there say who does what."""
    one, two = (machine(fake, tmp_path, bucket, name) for name in ("one", "two"))
    both_there = threading.Barrier(2)

    def together(worker: Any) -> None:
        def watch(task: Any) -> bool:
            time.sleep(0.02)
            return False

        worker.break_on = watch
        both_there.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda each: each.run(together), (one, two))
    assert first == second
    assert sorted(one.done + two.done) == sorted(task.id for task in fake.tiny_plan().tasks)
    assert one.done and two.done, "both had some of it"
    assert Remote(bucket.url).notes("claims") == Remote(bucket.url).notes("sessions") == []
    assert one.said == two.said == []


def test_the_claim_of_a_machine_that_was_killed_expires(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [sys.executable, "-c", CLAIMS, str(tmp_path / "killed"), bucket.url]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline().startswith(b"Claim")
    with opened(tmp_path / "other", bucket.url) as store, claims_of(store) as claims:
        assert not taken(claims), "it lives"
        holder.kill()
        holder.wait()
        assert not taken(claims), "it may live"
        monkeypatch.setattr(bucket_claims, "LEASE_SECONDS", 2.0)
        until = time.monotonic() + 60
        while (claim := taken(claims)) is None and time.monotonic() < until:
            time.sleep(0.2)
        assert claim is not None and claim.after is not None


def taken(claims: TaskClaims) -> Claim | None:
    claims.look()
    claims.look_for_dead()
    return claims.take("task")


CLAIMS = """
import sys, time
from pathlib import Path
from erasure_bench.bench.storage.bucket_claims import claims_of
from erasure_bench.bench.storage.two_levels import opened
with opened(Path(sys.argv[1]), sys.argv[2]) as store, claims_of(store) as claims:
    print(claims.take("task"), flush=True)
    time.sleep(600)
"""


def packed(**files: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def link_out(data: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:") as tar:
        member = tarfile.TarInfo("edit.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    return written.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda data: data[:1800],
    "cut off between two files": lambda data: data[:1024],
    "empty": lambda data: b"",
    "one bit": lambda data: data.replace(b"erase_seconds", b"erase_seconde"),
    "no archive": lambda data: b"<html>not found</html>" * 100,
    "a file outside": lambda data: packed(**{"../../../escaped": b"x", MANIFEST: b"{}"}),
    "a link": link_out,
    "no manifest": lambda data: packed(**{"edit.json": b"0.5"}),
}


def put(store: Store, task_id: str, content: str) -> None:
    with store.writing("erase", task_id) as draft:
        (draft.folder / "edit.json").write_text(content)
        draft.about = {"erase_seconds": 1}


@pytest.mark.parametrize("how", DAMAGES)
def test_an_object_that_is_not_what_was_sent_is_refused_and_replaced(
    how: str, tmp_path: Path, bucket: Bucket
) -> None:
    task_id, said = "ab" * 32, list[str]()
    key = f"erase/ab/{task_id}.tar"
    with opened(tmp_path / "one", bucket.url) as one:
        put(one, task_id, "0.5")
    whole = bucket.read(key)
    bucket.write(key, DAMAGES[how](whole))
    assert bucket.read(key) != whole
    with opened(tmp_path / "two", bucket.url, said.append) as two:
        assert not two.obtain("erase", task_id)
        assert len(said) == 1 and "refused, to be made anew" in said[0] and "\n" not in said[0]
        assert not two.obtain("erase", task_id) and len(said) == 1, "asked once, and said once"
        put(two, task_id, "0.5")
    assert not list(tmp_path.rglob("escaped"))
    with opened(tmp_path / "three", bucket.url, said.append) as three:
        assert three.obtain("erase", task_id), "the whole one has taken its place"
        assert three.entry("erase", task_id).read("edit.json") == b"0.5"
    assert len(said) == 1


def test_what_was_fetched_and_cannot_be_read_is_made_anew_not_fetched_again(
    tmp_path: Path, bucket: Bucket
) -> None:
    """Its digests fit, its content is none: as somebody might forge it."""
    task_id = "cd" * 32
    with opened(tmp_path / "one", bucket.url) as one:
        put(one, task_id, "no edit at all")
    with opened(tmp_path / "two", bucket.url, lambda line: None) as two:
        assert two.obtain("erase", task_id)
        two.folder("erase", task_id).joinpath("edit.json").write_text("damaged here as well")
        two.set_aside("erase", task_id, "it cannot be read")
        assert not two.obtain("erase", task_id)
        put(two, task_id, "0.5")
    with opened(tmp_path / "three", bucket.url) as three:
        assert three.obtain("erase", task_id)
        assert three.entry("erase", task_id).read("edit.json") == b"0.5"


def test_an_upload_that_was_killed_is_not_there(tmp_path: Path, bucket: Bucket) -> None:
    """Of an entry large enough to be sent in parts, the process is killed between them."""
    task_id = "ef" * 32
    with Store(tmp_path / "one") as store, store.writing("erase", task_id) as draft:
        (draft.folder / "weights").write_bytes(os.urandom(40_000_000))
    words = [sys.executable, "-c", SENDS, str(tmp_path / "one"), bucket.url, task_id]
    sending = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert sending.stdout and sending.stdout.readline()
    before = bucket.wire.carried
    while bucket.wire.carried - before < 12_000_000 and sending.poll() is None:
        time.sleep(0.001)
    sending.kill()
    assert sending.wait() < 0, "it was quicker than the kill"
    assert Remote(bucket.url).listed("erase", "ef") == frozenset()
    with opened(tmp_path / "two", bucket.url) as two:
        assert not two.obtain("erase", task_id)


SENDS = """
import sys
from pathlib import Path
from erasure_bench.bench.storage.remote import Remote
root, url, task_id = sys.argv[1:]
remote = Remote(url)
remote.check()
print("ready", flush=True)
remote.send("erase", task_id, Path(root) / "erase" / task_id[:2] / task_id, Path(root))
"""


def test_another_entry_under_its_name_is_refused(fake: ModuleType, tmp_path: Path, bucket: Bucket) -> None:
    one, two = (machine(fake, tmp_path, bucket, name) for name in ("one", "two"))
    first = one.run()
    drawn = [task for task in fake.tiny_plan().tasks if task.kind == "generate"]
    bucket.write(key_of(drawn[0]), bucket.read(key_of(drawn[1])))
    assert two.run() == first and two.done == [drawn[0].id]
    assert len(two.said) == 1 and "that of another entry; refused" in two.said[0]


def test_an_entry_that_is_damaged_here_is_fetched_again(
    fake: ModuleType, tmp_path: Path, bucket: Bucket
) -> None:
    one = machine(fake, tmp_path, bucket, "one")
    first, erase = one.run(), fake.tiny_plan().tasks[0]
    (Store(one.folder / "store").folder("erase", erase.id) / "edit.json").write_text("")
    assert one.run() == first and one.done == [] and one.exchanged.fetched == 1


def test_while_the_bucket_is_away_the_run_goes_on_and_sends_later(
    fake: ModuleType, tmp_path: Path, bucket: Bucket
) -> None:
    one, two = (machine(fake, tmp_path, bucket, name) for name in ("one", "two"))
    tasks = fake.tiny_plan().tasks

    def gone_after_a_few(worker: Any) -> None:
        def watch(task: Any) -> bool:
            if len(worker.calls) == 4:
                bucket.go()
            return False

        worker.break_on = watch

    try:
        first = one.run(gone_after_a_few)
    finally:
        bucket.come_back()
    assert len(one.done) == len(tasks), "all is done, with results"
    assert "is away" in one.said[0] and "the same command sends them" in one.said[-1]
    assert len(one.said) == 2 and all("\n" not in line for line in one.said)
    assert one.run() == first and one.done == []
    assert one.exchanged == (0, len(tasks) - 3)
    assert two.run() == first and two.done == []


def test_a_bucket_that_comes_back_meanwhile_gets_what_it_missed(
    fake: ModuleType, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_levels, "AWAY_SECONDS", 0.0)
    one, two = (machine(fake, tmp_path, bucket, name) for name in ("one", "two"))

    def away_for_one(worker: Any) -> None:
        def watch(task: Any) -> bool:
            if len(worker.calls) == 4:
                bucket.go()
            if len(worker.calls) == 5:
                bucket.come_back()
            return False

        worker.break_on = watch

    one.run(away_for_one)
    assert one.said and not any("could not be sent" in line for line in one.said)
    two.run()
    assert two.done == []


@pytest.mark.parametrize("what", ["no bucket", "no credentials", "no server", "no address"])
def test_a_bucket_that_cannot_be_used_is_one_line_before_anything_is_done(
    what: str, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket.url
    if what == "no bucket":
        url = "s3://never-made/shared"
    if what == "no credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # no cloud's machine
    if what == "no server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    if what == "no address":
        url = "ftp://somewhere/else"
    with pytest.raises(BenchError, match="--remote") as found:
        opened(tmp_path / "store", url)
    assert "\n" not in str(found.value) and len(str(found.value)) < 400
    assert not (tmp_path / "store").exists()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(BenchError, match=r"pip install 'erasure-bench\[remote\]'"):
        opened(tmp_path, "gs://bucket")


def test_sizes_say_what_lies_there(fake: ModuleType, tmp_path: Path, bucket: Bucket) -> None:
    machine(fake, tmp_path, bucket, "one").run()
    found = {size.part: size for size in Remote(bucket.url).sizes()}
    kinds = [task.kind for task in fake.tiny_plan().tasks]
    assert {part: found[part].entries for part in set(kinds)} == {
        part: kinds.count(part) for part in set(kinds)
    }
    assert all(found[part].bytes > 0 for part in set(kinds))


def test_an_address_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--remote") as found:
        check_store(Path("s3://bucket/folder"))
    assert "\n" not in str(found.value)


def test_a_worker_begins_whether_the_bucket_is_there_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said: list[str] = []
    with opened(tmp_path, "s3://bucket/folder", said.append, check=False) as store:
        put(store, "ab" * 32, "0.5")
        assert store.has("erase", "ab" * 32)
    assert len(said) == 2 and "is away" in said[0] and "1 finished tasks could not be sent" in said[1]
