"""A run as one file: NAME.tar.gz with its results, `checksums.sha256`, and nothing of the machine it is from.

The same results give the same bytes, wherever they lie and whenever they are packed (with one version of
zlib). Inside stands one folder; `sha256sum -c checksums.sha256` in it checks what `unpack` checks.
"""

import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from erasure_bench.bench.reporting.run_file import RESULTS, RUN
from erasure_bench.bench.storage.atomic import write_atomically
from erasure_bench.bench.storage.unpacked import most_unpacked
from erasure_bench.errors import BenchError

SUFFIX = ".tar.gz"
CHECKSUMS = "checksums.sha256"
MOST_FILES = 100_000
"""Of an archive: more is no run."""
_LONGEST_HEADER = 64 << 10
"""Bytes of what tar writes of a file beside the file, such as a long name."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_RATINGS = re.compile(r"ratings-[^/\\]+\.csv")
_MODE = 0o644


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of a packed run."""
    return path.name.endswith(SUFFIX) and path.is_file()


def write_archive(path: Path, name: str, files: Mapping[str, bytes]) -> str:
    """Writes the files, below one folder `name`, and their checksums; the sha256 of the checksums.

    Raises OSError.
    """
    sums = checksums(files)
    data = _packed({**files, CHECKSUMS: sums}, name)
    write_atomically(path, lambda temporary: temporary.write_bytes(data))
    return hashlib.sha256(sums).hexdigest()


def checksums(files: Mapping[str, bytes]) -> bytes:
    """As `sha256sum` writes and reads them, by name."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
    return "".join(lines).encode()


def _packed(files: Mapping[str, bytes], name: str) -> bytes:
    out = io.BytesIO()
    # No time, no owner, no name of the file: what is the same has the same bytes.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=9, mtime=0) as zipped,
        tarfile.open(mode="w", fileobj=zipped, format=tarfile.PAX_FORMAT) as archive,
    ):
        for file, data in sorted(files.items()):
            about = tarfile.TarInfo(f"{name}/{file}")
            about.size, about.mode, about.mtime = len(data), _MODE, 0
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


def read_archive(path: Path) -> tuple[str, dict[str, bytes]]:
    """The name and the files of a packed run, each held against its checksum.

    Raises BenchError for what is no such archive, is damaged, or holds anything but a run's files.
    """
    try:
        return _checked(path, dict(_members(path)))
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BenchError(
            f"{path}: is no packed run, or a damaged one: {why} (bench pack RUN makes one)"
        ) from error


def _checked(path: Path, members: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
    folders = {PurePosixPath(name).parts[0] for name in members}
    if len(folders) != 1:
        raise BenchError(
            f"{path}: is no packed run: it holds {len(folders)} folders (bench pack RUN makes one)"
        )
    (folder,) = folders
    files = {name.removeprefix(f"{folder}/"): data for name, data in members.items()}
    check_files(files, str(path))
    return folder, files


def check_files(files: dict[str, bytes], where: str) -> None:
    """Takes the checksums out of the files and holds the others against them; raises BenchError."""
    if CHECKSUMS not in files or RUN not in files:
        lacking = CHECKSUMS if RUN in files else RUN
        raise BenchError(f"{where}: is no packed run: it has no {lacking} (bench pack RUN makes one)")
    wanted: dict[str, str] = {}
    for line in files.pop(CHECKSUMS).decode(errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise BenchError(f"{where}: {CHECKSUMS} is damaged: {line[:60]!r}")
        wanted[found[2]] = found[1]
    for name in sorted(wanted.keys() | files.keys()):
        if name not in files:
            raise BenchError(f"{where}: {name} is missing, which {CHECKSUMS} names")
        if name not in wanted:
            raise BenchError(f"{where}: {name} is there, and {CHECKSUMS} knows nothing of it")
        if hashlib.sha256(files[name]).hexdigest() != wanted[name]:
            raise BenchError(f"{where}: {name} is not what was packed (its sha256 differs)")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Plain files of plain names; nothing is written for it."""
    total = 0
    most = most_unpacked(path.stat().st_size)
    with tarfile.open(path, mode="r:gz", tarinfo=_Member) as archive:
        for count, member in enumerate(archive):
            name = PurePosixPath(member.name)
            if (
                not member.isreg()
                or member.issparse()
                or name.is_absolute()
                or ".." in name.parts
                or len(name.parts) < 2
            ):
                raise BenchError(
                    f"{path}: holds {member.name!r}, which is no plain file of a run: not unpacked"
                )
            if not _belongs(str(PurePosixPath(*name.parts[1:]))):
                raise BenchError(f"{path}: holds {member.name!r}, which no run has: not unpacked")
            total += member.size
            if total > most or count > MOST_FILES:
                raise BenchError(
                    f"{path}: unpacked it is larger than {most >> 20:,} MiB, which no run of its size is"
                )
            file = archive.extractfile(member)
            assert file is not None
            yield str(name), file.read()  # a//b is a/b here too: no second root


class _Member(tarfile.TarInfo):
    """A header that leads on: a size below nought would lead back, and a long one be read into memory."""

    def _block(self, count: int) -> int:
        if count < 0 or (self.type in _HEADERS and count > _LONGEST_HEADER):
            raise tarfile.HeaderError(f"a header of {count} bytes")
        return -(-count // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def _belongs(name: str) -> bool:
    """Whether a packed run may hold a file of this name."""
    return name in (RUN, CHECKSUMS, *RESULTS) or bool(_RATINGS.fullmatch(name))


def unpack(path: Path, folder: Path) -> Path:
    """Writes the checked files of an archive into `folder`, which must be new or empty; the folder.

    Raises BenchError where something lies there, or the archive is not what was packed.
    """
    _, files = read_archive(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"--out {folder}: is there already and not empty: name a new one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            if name != RUN:
                (folder / name).write_bytes(data)
        # The last one: a folder that has it is whole.
        write_atomically(folder / RUN, lambda temporary: temporary.write_bytes(files[RUN]))
    except OSError as error:
        raise BenchError(f"--out {folder}: {error.strerror or error}") from error
    return folder


def name_of(path: Path) -> str:
    """What a run is called that lies in this folder or archive."""
    return path.name.removesuffix(SUFFIX) or os.path.basename(path.resolve())
