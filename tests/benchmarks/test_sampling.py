"""The scripts that are for a GPU run whole on tiny shapes; what they say of speed is for a GPU to tell."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import sampling, unet_passes
from benchmarks.devices import flops_of, matrix_rate
from benchmarks.pairs import in_turns, ratio_of
from benchmarks.shapes import CLASS_MODELS, class_model_of


def test_a_ratio_has_the_t_interval_of_its_pairs_logarithms() -> None:
    found = ratio_of([1.0, 1.0, 1.0], [2.0, 4.0, 8.0])
    assert found.ratio == pytest.approx(4.0)
    # log 2 · t(0.975, 2) / √3
    assert math.log(found.high / found.ratio) == pytest.approx(math.log(2) * 4.30265 / math.sqrt(3), rel=1e-4)
    assert found.low * found.high == pytest.approx(found.ratio**2)
    assert ratio_of([1.0], [2.0]).high == math.inf


def test_two_ways_are_done_in_turns_and_neither_is_always_first() -> None:
    done: list[str] = []
    ours, other = in_turns(lambda: done.append("a"), lambda: done.append("b"), 3)
    assert "".join(done) == "ab" + "ba" + "ab" + "ba" and len(ours) == len(other) == 3


def test_operations_are_counted_as_multiplications_and_additions() -> None:
    layer = torch.nn.Linear(8, 16, bias=False)
    assert flops_of(layer, {"input": torch.zeros(4, 8)}) == 2 * 4 * 8 * 16
    assert matrix_rate("cpu", torch.float32, side=16) > 0


@pytest.mark.slow
def test_sampling_is_measured_in_every_way() -> None:
    figures = sampling.measure(
        "tiny",
        "cpu",
        "float32",
        batches=[1, 2],
        pictures=2,
        steps=1,
        pairs=1,
        compiler={"backend": "eager"},
    )
    assert set(figures["diffusers_with_batches"]) == {1, 2}
    for way in ("peers_one_prompt_at_a_time", "files_written_after_all", "compiled"):
        assert figures[way]["pictures_per_second"] > 0 and figures[way]["times_as_fast"]["pairs"] == 1
    assert figures["side"] == 64 and figures["tera_operations_per_picture"] > 0


def test_a_model_of_pixels_is_measured_beside_the_plain_loop() -> None:
    figures = sampling.measure("tiny-ddpm", "cpu", "float32", batches=[1, 2], pictures=2, steps=2, pairs=1)
    assert figures["diffusers_with_batches"][2]["pictures_per_second"] > 0 and figures["side"] == 8
    assert "compiled" not in figures and figures["tera_operations_per_picture"] > 0
    assert "cifar10-ddpm" in CLASS_MODELS


def test_the_plain_loop_draws_what_the_sampler_draws(tmp_path: Path) -> None:
    """Else the two would not be compared on the same work."""
    model = class_model_of("tiny-ddpm", "cpu", torch.float32)
    with torch.no_grad():
        for number, tensor in enumerate(model.named_tensors().values()):
            generator = torch.Generator().manual_seed(number)
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    drawing = sampling.Drawing(model, pictures=3, steps=4, folder=tmp_path)
    found = []
    for draw in (drawing.ours, drawing.peers):
        draw(2)
        found.append(
            np.stack([np.asarray(Image.open(tmp_path / f"{n}.png").convert("RGB")) for n in range(3)])
        )
    assert np.ptp(found[0]) > 50
    np.testing.assert_allclose(found[0].astype(int), found[1].astype(int), atol=1)


def test_a_pass_is_measured_in_every_way_and_not_compiled_anew_for_ten_edits() -> None:
    figures = unet_passes.measure(
        "tiny-xl",
        "cpu",
        "float32",
        rows=[2],
        ways=["channels last", "compiled"],
        pairs=1,
        compiler={"backend": "eager"},
    )
    assert set(figures["ways"]) == {"channels last", "compiled"}
    assert figures["ways"]["compiled"]["compiled_anew_over_edits"] == 0
    assert figures["ways"]["channels last"]["rows"][2]["rows_per_second"] > 0
