"""Weights as they are published, through the real libraries: the hub's protocol, torchvision's cache."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.classifier import ClassProbability

WEIGHTS = b"some weights"
COMMIT = "1" * 40


class _Hub(BaseHTTPRequestHandler):
    """One repository with one file, as the hub answers for it."""

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        found = self.path in ("/", "/org/name/resolve/main/weights.bin")
        self.send_response(200 if found else 404)
        if not found:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{hashlib.sha1(WEIGHTS).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(WEIGHTS) if found else 0))
        self.end_headers()
        if with_content and found:
            self.wfile.write(WEIGHTS)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a hub on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _fetch(names: tuple[str, ...], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`hub_file` in a process of its own: the hub's client reads its settings once."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "BENCH_"))}
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from erasure_bench.evaluators.hub import hub_file\n"
            f"print(hub_file('org/name', {names!r}, 'weights', 'do without').read_text())",
        ],
        env=kept | {"HF_HOME": str(home), "NO_PROXY": "127.0.0.1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_file_is_fetched_from_the_hub_once_and_then_found_in_its_cache(hub: str, tmp_path: Path) -> None:
    names = ("weights.safetensors", "weights.bin")  # the first of them is not there

    fetched = _fetch(names, tmp_path, HF_ENDPOINT=hub)
    again = _fetch(names, tmp_path, HF_HUB_OFFLINE="1")

    assert (fetched.returncode, fetched.stdout.strip()) == (0, WEIGHTS.decode()), fetched.stderr
    assert (again.returncode, again.stdout.strip()) == (0, WEIGHTS.decode()), again.stderr


def test_a_file_that_the_hub_lacks_is_named(hub: str, tmp_path: Path) -> None:
    refused = _fetch(("other.bin",), tmp_path, HF_ENDPOINT=hub)

    assert refused.returncode == 1
    assert "other.bin of org/name is missing" in refused.stderr and "no other.bin there" in refused.stderr


def test_torchvisions_weights_are_found_in_its_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_set: Callable[..., ImageSet]
) -> None:
    """Under the name that torchvision gives the file that it fetches; no loader of it is replaced.

    Another file in its place, a fine-tuned one or a damaged one, is not taken for the published weights.
    """
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    from PIL import Image

    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    torch.manual_seed(0)
    network = models.squeezenet1_1(weights=None).eval()
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    other = cache / weights.url.rpartition("/")[2]
    torch.save(network.state_dict(), other)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BenchError, match=f"not the published weights .*begin with {other.stem[-8:]}"):
        ClassProbability(model="squeezenet1_1/IMAGENET1K_V1").prepare()
    digits = hashlib.sha256(other.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(weights.value, "url", f"https://example.org/squeezenet1_1-{digits}.pth")
    other.rename(cache / f"squeezenet1_1-{digits}.pth")
    images = image_set(("target", None), size=(240, 300))
    images = ImageSet(replace(images.concept, label=weights.meta["categories"][3]), images.pictures)

    frame = ClassProbability(model="squeezenet1_1/IMAGENET1K_V1").score(images).values

    with torch.no_grad():
        logits = network(weights.transforms()(Image.fromarray(images.pictures[0].pixels))[None])
    (probability,) = frame[frame.metric == "class_probability"].value
    assert probability == pytest.approx(float(logits.softmax(1)[0, 3]), rel=1e-5)
