"""A bucket of finished entries, which machines without a common disk share: a store's second level.

    <url>/<kind>/<first two digits>/<id>.tar    an entry's files and its manifest
    <url>/erasure-bench.json                    says what the place is for
    <url>/claims/ …, <url>/sessions/ …          who does what at the moment (`storage.bucket_claims`)

One object for each entry: an object store shows it whole or not at all, so an upload that was killed is never
seen, and of two that send the same entry one counts. What comes from there is checked like anything else that
is read: every file against the manifest, the manifest against its own digest and the id that was asked for.
"""

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from erasure_bench.bench.storage.atomic import fsync_path
from erasure_bench.bench.storage.manifest import MANIFEST, Flaw, check_entry
from erasure_bench.bench.words.showing import one_line
from erasure_bench.errors import BenchError
from erasure_bench.permissions import follow_umask

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
"""Object stores: each shows an object whole or not at all. Disks that machines share are no remotes."""
MARK = "erasure-bench.json"
SUFFIX = ".tar"
_FORMAT = {"format": "erasure-bench remote 1"}
_RETRIES: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_PATIENCE: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),  # without a byte
    "timeout": timedelta(days=1),  # of a whole object
}
_LONGEST_REASON, _LONGEST_URL = 200, 1000
_SERVERS_WORDS = re.compile(r"<Message>([^<]+)</Message>")


class RemoteAway(Exception):
    """The remote does not answer, or refuses: why, in a few words."""


class RemoteSize(NamedTuple):
    """How many entries or other objects lie under one name, and their bytes."""

    part: str
    entries: int
    bytes: int


class Remote:
    """The bucket, or a folder in it, at a URL; credentials are the environment's or the machine's own.

    Raises BenchError for a URL that is none of an object store.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        scheme, _, place = self.url.partition("://")
        if scheme not in SCHEMES or not place or not self.url.isprintable() or len(url) > _LONGEST_URL:
            raise BenchError(
                f"--remote {one_line(url)[:_LONGEST_REASON]}: no bucket's address: s3://BUCKET/FOLDER, "
                "gs://BUCKET/FOLDER or az://CONTAINER/FOLDER; a folder that all machines see is a --store"
            )
        self._opened: ObjectStore | None = None

    def check(self) -> None:
        """Raises BenchError, in one line, where nothing can be written there."""
        try:
            from obstore import put
        except ImportError as error:
            raise BenchError(
                f"--remote {self.url} needs a package: pip install 'erasure-bench[remote]'"
            ) from error
        try:
            with _told():
                put(self._bucket, MARK, json.dumps(_FORMAT).encode())
        except RemoteAway as why:
            raise BenchError(
                f"--remote {self.url}: {why}; the bucket must be there, and this machine's credentials allow "
                "to read and write it (docs/store.md); without --remote the run goes on in its folder alone"
            ) from why

    def listed(self, kind: str, shard: str) -> frozenset[str]:
        """The ids that lie there and begin so; raises RemoteAway."""
        return frozenset(
            Path(path).name.removesuffix(SUFFIX)
            for path, _ in self._objects(f"{kind}/{shard}/")
            if path.endswith(SUFFIX)
        )

    def fetch(self, kind: str, task_id: str, folder: Path) -> bool:
        """Fills the empty folder with the entry, checked whole; False where it is not there.

        Raises RemoteAway, Flaw where it is not what was written, OSError for the folder's own disk.
        """
        from obstore import get

        packed = folder.with_suffix(SUFFIX)
        try:
            with _told():
                try:
                    found = get(self._bucket, _name(kind, task_id))
                except FileNotFoundError:
                    return False
                with packed.open("wb") as file:
                    for chunk in found.stream():
                        file.write(chunk)
            _unpack(packed, folder)
        finally:
            packed.unlink(missing_ok=True)
        check_entry(folder, kind, task_id)
        return True

    def send(self, kind: str, task_id: str, folder: Path, scratch: Path) -> None:
        """Puts the entry in this folder there, in place of one that is there; raises RemoteAway, OSError.

        It is packed in `scratch` first.
        """
        from obstore import put

        packed = scratch / f"sending-{kind}-{task_id}{SUFFIX}"
        try:
            _pack(folder, packed)
            with _told():
                put(self._bucket, _name(kind, task_id), packed)
        finally:
            packed.unlink(missing_ok=True)

    def note(self, name: str, text: str) -> None:
        """Puts a few words there, in place of what is there; raises RemoteAway."""
        from obstore import put

        with _told():
            put(self._bucket, name, text.encode())

    def note_once(self, name: str, text: str) -> bool:
        """Puts a few words there unless there are any: of several that do so at once, one succeeds.

        Raises RemoteAway, also where the server knows no such request.
        """
        from obstore import put
        from obstore.exceptions import AlreadyExistsError

        with _told():
            try:
                put(self._bucket, name, text.encode(), mode="create")
            except AlreadyExistsError:
                return False
        return True

    def read_note(self, name: str) -> str | None:
        """None where there is none; raises RemoteAway."""
        from obstore import get

        with _told():
            try:
                return bytes(get(self._bucket, name).bytes()).decode(errors="replace")
            except FileNotFoundError:
                return None

    def time_of(self, name: str) -> float | None:
        """When the object was put there, in seconds by the server's clock; None where it is not there.

        Raises RemoteAway.
        """
        from obstore import head

        with _told():
            try:
                return head(self._bucket, name)["last_modified"].timestamp()
            except FileNotFoundError:
                return None

    def notes(self, prefix: str) -> list[tuple[str, float]]:
        """The names below `prefix/`, without it, and their times as `time_of` has them; raises RemoteAway."""
        from obstore import list as listing

        with _told():
            chunks = listing(self._bucket, f"{prefix}/", chunk_size=1000)
            return [
                (each["path"].rpartition("/")[2], each["last_modified"].timestamp())
                for chunk in chunks
                for each in chunk
            ]

    def remove_notes(self, names: Iterable[str]) -> None:
        """One after the other, as far as they are there; raises RemoteAway."""
        from obstore import delete

        with _told():
            for name in names:
                with suppress(FileNotFoundError):
                    delete(self._bucket, name)

    def sizes(self) -> list[RemoteSize]:
        """What lies there, by the first part of its name; raises RemoteAway."""
        found: dict[str, list[int]] = {}
        for path, size in self._objects(None):
            found.setdefault(path.partition("/")[0], []).append(size)
        return [RemoteSize(part, len(each), sum(each)) for part, each in sorted(found.items())]

    def _objects(self, prefix: str | None) -> Iterator[tuple[str, int]]:
        from obstore import list as listing

        with _told():
            for chunk in listing(self._bucket, prefix, chunk_size=1000):
                for each in chunk:
                    yield each["path"], each["size"]

    @property
    def _bucket(self) -> "ObjectStore":
        if self._opened is None:
            from obstore.store import from_url

            asked = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
            plain: ClientConfig = {**_PATIENCE, "allow_http": asked.startswith("http://")}
            try:
                self._opened = from_url(self.url, client_options=plain, retry_config=_RETRIES)
            except ValueError as error:  # it is no URL at all
                raise RemoteAway(one_line(str(error).partition("\n")[0])) from error
        return self._opened


def _name(kind: str, task_id: str) -> str:
    return f"{kind}/{task_id[:2]}/{task_id}{SUFFIX}"


@contextmanager
def _told() -> Iterator[None]:
    """RemoteAway for whatever a bucket's client raises; this machine's disk's errors stay their own."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:  # what is not there it tells by Python's own
        raise RemoteAway(_in_short(str(error)) or type(error).__name__) from error


def _in_short(said: str) -> str:
    """The server's own words where it said any, else the client's without what it was debugging: one line."""
    words = _SERVERS_WORDS.search(said)
    first = words[1] if words else said.partition("\nDebug source:")[0].rpartition(" - ")[2]
    return one_line(first.strip())[:_LONGEST_REASON].rstrip(". ")


def _pack(folder: Path, packed: Path) -> None:
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    with tarfile.open(packed, "w:") as tar:
        for name in sorted(names, key=lambda name: (name == MANIFEST, name)):
            tar.add(folder / name, name, recursive=False, filter=plain)


def _unpack(packed: Path, folder: Path) -> None:
    """Raises Flaw for anything but plain files that lie within the folder."""

    def only_files(member: tarfile.TarInfo, to: str) -> tarfile.TarInfo:
        if not member.isreg() or member.sparse is not None:
            raise Flaw(f"{one_line(member.name)} is no plain file")
        return tarfile.data_filter(member, to)

    try:
        with tarfile.open(packed, "r:") as tar:
            tar.extractall(folder, filter=only_files)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Flaw(f"it cannot be unpacked ({one_line(str(error))})") from error
    follow_umask(folder)
    for path in folder.rglob("*"):
        fsync_path(path)
    fsync_path(folder)
