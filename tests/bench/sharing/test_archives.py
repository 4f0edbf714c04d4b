"""A packed run is whole, the same bytes each time, checked as it is read, and says nothing of its machine."""

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.comparing.finished import read_finished
from erasure_bench.bench.reporting.record import read_record
from erasure_bench.bench.sharing.archives import CHECKSUMS, read_archive, unpack, write_archive
from erasure_bench.bench.sharing.finding import find_run
from erasure_bench.bench.sharing.guard import _texts
from erasure_bench.bench.sharing.machine_paths import Scrubber, found_in
from erasure_bench.bench.sharing.packing import _clean, pack
from erasure_bench.errors import BenchError

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def archive(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, _ = pack(finished, tmp_path_factory.mktemp("packed") / "mine.tar.gz")
    return path


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(
    finished: Path, archive: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(finished, tmp_path / "elsewhere" / "other")
    again, digest = pack(elsewhere, tmp_path / "mine.tar.gz")
    assert again.read_bytes() == archive.read_bytes()
    theirs = unpack(archive, tmp_path / "theirs")
    once_more, same = pack(theirs, tmp_path / "again" / "mine.tar.gz")
    assert once_more.read_bytes() == archive.read_bytes(), "what was packed once has nothing left to take out"
    assert same == digest


@pytest.mark.parametrize("which", ["finished", "failed"])
def test_no_path_of_the_machine_is_in_it(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(which)
    assert str(folder.parent) in (folder / "run.json").read_text()
    path, _ = pack(folder, tmp_path / "packed.tar.gz")
    _, files = read_archive(path)
    whole = b"".join(files.values())
    for known in (str(folder.parent), str(Path.home()), str(Path(__file__).parents[3])):
        assert known.encode() not in whole
    assert b"my weights" not in whole
    for name, data in files.items():
        assert [path for text in _texts(name, data) for path in found_in(text)] == [], name
    record = json.loads(files["run.json"])
    assert record["store"] is None and record["config"]["data_dir"] is None
    assert record["config"]["edits"] == {"theirs": "…/theirs.safetensors"}
    assert "edit" not in record["cells"][0]
    if which == "failed":
        traces = [failure["trace"] for failure in record["failures"]]
        assert traces and all("is broken" in trace and 'File "…/' in trace for trace in traces)


def test_it_reads_as_the_run_did(finished: Path, archive: Path) -> None:
    before, after = read_finished(finished), read_finished(find_run(str(archive)))
    assert after.document["rows"] == before.document["rows"]
    assert after.scores.equals(before.scores)
    assert read_record(after.folder)["method_settings"][0] == read_record(finished)["method_settings"][0]


def test_sha256sum_checks_what_is_in_it(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", CHECKSUMS], cwd=tmp_path / "mine", capture_output=True
    )
    assert done.returncode == 0, done.stderr


def test_commands_take_it_as_a_run(archive: Path, capsys: Captured, tmp_path: Path) -> None:
    assert run_command(["table", str(archive), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["methods"] == ["none", "dim"]
    assert run_command(["compare", str(archive), str(archive), "--format", "json"]) == 0
    capsys.readouterr()
    assert run_command(["unpack", str(archive), "--out", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'new'}\n"
    assert run_command(["unpack", str(archive), "--out", str(tmp_path / "new")]) == 3
    assert "is there already and not empty" in capsys.readouterr().err


def test_nothing_is_written_into_an_archive(archive: Path, capsys: Captured, tmp_path: Path) -> None:
    for words in (["score", str(archive), "--evaluators", "nudity"], ["pack", str(archive)]):
        assert run_command(words) == 3
        assert "is packed, and is not written to: unpack it first" in capsys.readouterr().err
    assert run_command(["pack", str(archive), "--out", str(tmp_path / "again.tar.gz")]) == 0
    assert read_archive(tmp_path / "again.tar.gz")[1] == read_archive(archive)[1]


def test_pack_prints_the_archive(finished: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "a.tar.gz"
    assert run_command(["pack", str(finished), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["archive"] == str(out) and said["bytes"] == out.stat().st_size
    assert run_command(["pack", str(finished), "--out", str(tmp_path / "a.zip")]) == 3
    assert "call it NAME.tar.gz" in capsys.readouterr().err


def repacked(archive: Path, path: Path, change: dict[str, bytes | None]) -> Path:
    """The archive with other files, and checksums as they were."""
    name, files = read_archive(archive)
    sums = "".join(f"{line}\n" for line in _checksums(archive).splitlines()).encode()
    files = {**files, CHECKSUMS: sums}
    for file, data in change.items():
        files.pop(file, None)
        if data is not None:
            files[file] = data
    with tarfile.open(path, "w:gz") as out:
        for file, data in files.items():
            about = tarfile.TarInfo(f"{name}/{file}")
            about.size = len(data)
            out.addfile(about, io.BytesIO(data))
    return path


def _checksums(archive: Path) -> str:
    with tarfile.open(archive) as packed:
        (member,) = (one for one in packed if one.name.endswith(CHECKSUMS))
        file = packed.extractfile(member)
        assert file
        return file.read().decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaderboard.csv": b"forged"}, "leaderboard.csv is not what was packed"),
        ({"leaderboard.csv": None}, "leaderboard.csv is missing"),
        (
            {"features.parquet": b"more"},
            "features.parquet is there, and checksums.sha256 knows nothing of it",
        ),
        ({"run.json": None}, "it has no run.json"),
        ({CHECKSUMS: None}, f"it has no {CHECKSUMS}"),
        ({CHECKSUMS: b"no sums"}, "is damaged"),
        ({"setup.py": b"x"}, "which no run has: not unpacked"),
        ({"../../evil.csv": b"x"}, "no plain file of a run: not unpacked"),
    ],
)
def test_what_was_changed_is_refused(
    change: dict[str, bytes | None], message: str, archive: Path, tmp_path: Path, capsys: Captured
) -> None:
    bad = repacked(archive, tmp_path / "bad.tar.gz", change)
    assert run_command(["table", str(bad)]) == 3
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert run_command(["unpack", str(bad), "--out", str(tmp_path / "to")]) == 3
    assert not (tmp_path / "to").exists() and not list(tmp_path.glob("**/evil*"))


def test_links_and_cut_files_are_refused(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as out:
        link = tarfile.TarInfo("mine/run.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        out.addfile(link)
    with pytest.raises(BenchError, match="no plain file"):
        read_archive(tmp_path / "link.tar.gz")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(BenchError, match="is no packed run, or a damaged one"):
        read_archive(cut)
    cut.write_text("<html>not found</html>")
    with pytest.raises(BenchError, match="is no packed run, or a damaged one"):
        read_archive(cut)


def test_a_doubled_slash_leads_nowhere_else(archive: Path, tmp_path: Path) -> None:
    name, files = read_archive(archive)
    with tarfile.open(tmp_path / "slashes.tar.gz", "w:gz") as out:
        for file, data in {**files, CHECKSUMS: _checksums(archive).encode()}.items():
            about = tarfile.TarInfo(f"{name}//./{file}")
            about.size = len(data)
            out.addfile(about, io.BytesIO(data))
    assert read_archive(tmp_path / "slashes.tar.gz") == (name, files)


def test_a_changed_run_is_not_packed(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "leaderboard.csv").write_text("forged")
    with pytest.raises(BenchError, match="is not what the run wrote"):
        pack(copy)


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    files = {"run.json": b"{}", "a.csv": b"1", "b.csv": b"2"}
    write_archive(tmp_path / "one.tar.gz", "n", files)
    write_archive(tmp_path / "two.tar.gz", "n", dict(reversed(files.items())))
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('File "/usr/lib/python3/site-packages/torch/nn/x.py", line 3', 'File "…/torch/nn/x.py", line 3'),
        ("see /root/.cache/hub/a.bin: no", "see …/a.bin: no"),
        ("weights /home/me/my models/x y.pt are bad", "weights …/x y.pt are bad"),
        ("/home/me/my models/x y.pt", "…/x y.pt"),
        ("file:///home/me/x.png", "…/x.png"),
        ("file://localhost/home/me/x.png", "…/x.png"),
        ("weights:/home/me/secret/x.pt", "weights:…/x.pt"),
        ("me@host:/scratch/me/x", "me@host:…/x"),
        (r"C:\Users\me\x.pt", "…/x.pt"),
        ("https://huggingface.co/home/x and/or 1/2 </div> a/b /not-a-root/x", None),
    ],
)
def test_paths_are_told_from_other_slashes(text: str, clean: str | None) -> None:
    scrub = Scrubber(["/home/me/my models/x y.pt"])
    assert scrub.text(text) == (text if clean is None else clean)
    assert found_in(scrub.text(text)) == []
    assert scrub.text(scrub.text(text)) == scrub.text(text)


def test_a_packed_table_is_looked_into() -> None:
    """Its bytes are no text: a path in them stays unseen, and by chance they look like one of Windows."""
    table = b"method,reason\nnone,cannot read /home/me/private/x.pt\n"
    packed = gzip.compress(table, mtime=0)
    assert found_in("\n".join(_texts("leaderboard.csv.gz", packed))) == ["/home/me/private/x.pt"]

    clean = _clean("leaderboard.csv.gz", packed, Scrubber())

    assert gzip.decompress(clean).decode() == "method,reason\nnone,cannot read …/x.pt\n"
    assert _clean("leaderboard.csv.gz", clean, Scrubber()) == clean, "the same bytes where it has none"
