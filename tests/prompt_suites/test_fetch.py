"""Upstream data: only the pinned bytes are ever used, wherever they come from."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.fetch import UPSTREAM_VARIABLE, UpstreamFile, locate

CONTENT = b"prompt,seed\na kite,7\n"
FILE = UpstreamFile(
    repository="someone/prompts",
    commit="0" * 40,
    path="data/some prompts.csv",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    folder="suite",
)
OTHER_CONTENT = b"text,seed\na kite,7\n"
OTHER = UpstreamFile(
    repository="other/prompts",
    commit="1" * 40,
    path="other.csv",
    sha256=hashlib.sha256(OTHER_CONTENT).hexdigest(),
    size=len(OTHER_CONTENT),
    folder="suite",
)
NOWHERE = "http://127.0.0.1:9"


class Upstream:
    """A server with a copy of upstream in `root`; `asked` collects the paths asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []
        handler = partial(_Handler, self.asked, directory=str(root))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, content: bytes) -> None:
        place = self.root / FILE.repository / FILE.commit / FILE.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, asked: list[str], *args: object, **kwargs: object) -> None:
        self.asked = asked
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Upstream(tmp_path / "upstream")
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.mark.parametrize("name", FILE.local_names())
def test_every_layout_of_the_data_folder_is_found(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(gzip.compress(CONTENT) if name.endswith(".gz") else CONTENT)
    found = locate(FILE, data_dir=tmp_path, cache_dir=tmp_path / "cache", base_url=NOWHERE)
    assert (found.where, found.content) == (place, CONTENT)


def test_a_second_form_of_the_data_at_hand_is_preferred_to_fetching_the_first(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_bytes(OTHER_CONTENT)
    found = locate(FILE, OTHER, data_dir=tmp_path, cache_dir=tmp_path / "cache", base_url=NOWHERE)
    assert found.file == OTHER


def test_fetched_once_by_repository_commit_and_path_then_read_from_the_cache(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.serve(CONTENT)
    monkeypatch.setenv(UPSTREAM_VARIABLE, upstream.url)
    cache = tmp_path / "cache"
    first = locate(FILE, data_dir=None, cache_dir=cache)
    again = locate(FILE, data_dir=None, cache_dir=cache)
    assert first.content == again.content == CONTENT
    assert upstream.asked == [f"/someone/prompts/{'0' * 40}/data/some%20prompts.csv"]
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["some prompts.csv"]


@pytest.mark.parametrize("wrong", [b"prompt,seed\na kite,8\n", CONTENT[:-3], CONTENT + b"more"])
def test_other_bytes_from_upstream_are_refused_and_not_kept(
    tmp_path: Path, upstream: Upstream, wrong: bytes
) -> None:
    upstream.serve(wrong)
    mirror = "BENCH_UPSTREAM names a mirror"  # and not: delete it
    with pytest.raises(BenchError, match=rf"sha256 is [0-9a-f]{{64}}.*expected {FILE.sha256}.*{mirror}"):
        locate(FILE, data_dir=None, cache_dir=tmp_path / "cache", base_url=upstream.url)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_changed_local_copy_is_refused_by_name_and_not_replaced_by_a_fetch(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.serve(CONTENT)
    place = tmp_path / "some prompts.csv"
    place.write_bytes(CONTENT + b"a boat,8\n")
    with pytest.raises(BenchError, match=r"some prompts\.csv is not .*delete it") as refused:
        locate(FILE, data_dir=tmp_path, cache_dir=tmp_path / "cache", base_url=upstream.url)
    assert str(place) in str(refused.value)
    assert upstream.asked == []


def test_a_git_lfs_pointer_among_the_data_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / FILE.local_names()[0]).parent.mkdir(exist_ok=True)
    (tmp_path / FILE.local_names()[0]).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    with pytest.raises(BenchError, match="a Git LFS pointer.*--data-dir"):
        locate(FILE, data_dir=tmp_path, cache_dir=tmp_path / "cache", base_url=NOWHERE)


def test_a_broken_gzip_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "some prompts.csv.gz").write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(BenchError, match="cannot read"):
        locate(FILE, data_dir=tmp_path, cache_dir=tmp_path / "cache", base_url=NOWHERE)


@pytest.mark.parametrize("missing", ["offline", "404"])
def test_missing_data_say_where_was_looked_and_how_to_get_them(
    tmp_path: Path, upstream: Upstream, missing: str
) -> None:
    base = upstream.url if missing == "404" else NOWHERE
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(BenchError) as refused:
        locate(FILE, data_dir=data, cache_dir=tmp_path / "cache", base_url=base)
    message = str(refused.value)
    places = (str(data), str(tmp_path / "cache"), FILE.url(base))
    for part in ("some prompts.csv", "--data-dir", "BENCH_DATA", f"BENCH_UPSTREAM={base}", *places):
        assert part in message
    assert "\n" not in message


def test_a_data_folder_that_does_not_exist_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--data-dir"):
        locate(FILE, data_dir=tmp_path / "typo", cache_dir=tmp_path, base_url=NOWHERE)


def test_the_upstream_address_is_built_from_repository_commit_and_path() -> None:
    upstream = "https://raw.githubusercontent.com/someone/prompts"
    assert FILE.url() == f"{upstream}/{'0' * 40}/data/some%20prompts.csv"
