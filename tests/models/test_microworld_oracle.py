"""The oracle: what it reads, how it is trained and calibrated, what its card and the checks say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from erasure_bench.models.microworld.autoencoder import build_autoencoder
from erasure_bench.models.microworld.binding_report import BINDINGS
from erasure_bench.models.microworld.checks import Check, checks, judge
from erasure_bench.models.microworld.clip import swapped_report
from erasure_bench.models.microworld.dataset import draw_split, load_split
from erasure_bench.models.microworld.drawing import HEADS
from erasure_bench.models.microworld.nothing import TRAINED, UNSEEN
from erasure_bench.models.microworld.oracle import Views, train_oracle
from erasure_bench.models.microworld.oracle_network import CARD_FILE, WEIGHTS_FILE, OracleNetwork
from erasure_bench.models.microworld.oracle_report import (
    Shown,
    accuracy_report,
    descriptor_threshold,
    fit_temperatures,
    taken_for_nothing,
)
from erasure_bench.models.microworld.quality import BARS, WEIGHTS, nothing_summary, oracle_report, summary
from erasure_bench.models.microworld.settings import TOY
from erasure_bench.prompt_suites.microworld import vocabulary as words

SMALL = {"object": ("cat", "dog", "nothing"), "fire": ("no fire", "fire", "nothing")}


def _network(heads=SMALL, places: int = 2) -> OracleNetwork:
    torch.manual_seed(4)
    return OracleNetwork(heads, (8, 8, 8, 8), 8, places).eval()


def _saved(network: OracleNetwork, folder, **card) -> None:
    folder.mkdir(exist_ok=True)
    save_file(network.state_dict(), folder / WEIGHTS_FILE)
    (folder / CARD_FILE).write_text(json.dumps({"architecture": network.settings} | card))


def test_temperatures_come_from_the_card_and_divide_the_logits(tmp_path):
    network, images = _network(), torch.rand(3, 3, 64, 64)
    _saved(network, tmp_path, temperatures={"object": 2.0, "fire": 0.5})
    loaded = OracleNetwork.load(tmp_path)
    torch.testing.assert_close(loaded(images)["object"], network(images)["object"] / 2)
    torch.testing.assert_close(loaded(images)["fire"], network(images)["fire"] / 0.5)
    torch.testing.assert_close(loaded.descriptor(images), network.descriptor(images))
    # the features are the descriptor before it is cut to unit length, without what is negative
    features = network.features(images)
    torch.testing.assert_close(F.normalize(features), F.normalize(network.descriptor(images).relu()))


def test_the_heads_see_where_a_thing_is():
    """A square on the left or on the right, which pooling over the whole picture cannot tell."""
    torch.manual_seed(0)
    network = OracleNetwork({"side": ("left", "right")}, (8, 8, 8, 8), 8, places=4)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)

    def batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        images, right = torch.rand(32, 3, 64, 64, generator=generator) / 2, torch.arange(32) % 2
        for image, side in zip(images, right.tolist(), strict=True):
            down, across = torch.randint(44, (1,), generator=generator), 6 + 32 * side
            image[:, int(down) : int(down) + 18, across : across + 18] += 0.5
        return images, right

    generator = torch.Generator().manual_seed(1)
    for _ in range(40):
        images, right = batch(generator)
        optimizer.zero_grad()
        F.cross_entropy(network(images)["side"], right).backward()
        optimizer.step()
    images, right = batch(generator)
    assert float((network.eval()(images)["side"].argmax(dim=1) == right).float().mean()) > 0.9


def test_a_batch_holds_its_share_of_nothing_with_the_label_of_nothing():
    heads, count = len(HEADS), 100
    empty = torch.tensor([len(names) - 1 for names in HEADS.values()])
    views = Views(
        torch.zeros(5, 64, 64, 3, dtype=torch.uint8),
        torch.full((3, 64, 64, 3), 128, dtype=torch.uint8),
        torch.full((4, 64, 64, 3), 255, dtype=torch.uint8),
        torch.arange(5)[:, None].expand(5, heads),
        empty,
    )
    images, classes = views.batch(count, 0.18, torch.Generator().manual_seed(0))
    assert images.shape == (count, 3, 64, 64) and classes.shape == (count, heads)
    light = images.mean(dim=(1, 2, 3))
    assert (light[:41] < 0.3).all() and (light[82:] > 0.7).all()
    assert ((light[41:82] - 0.5).abs() < 0.2).all()
    assert (classes[82:] == empty).all()
    assert set(classes[:41, 0].tolist()) == set(range(5)), "drawings keep their own classes"
    assert set(classes[41:82, 0].tolist()) == set(range(3)), "reconstructions are of the first drawings"
    away = Views(*(tensor.to("meta") for tensor in views))
    assert {tensor.device.type for tensor in away.batch(count, 0.18, torch.Generator())} == {"meta"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A toy oracle with the folder it was trained in."""
    folder = tmp_path_factory.mktemp("oracle")
    for split in ("train", "heldout"):
        draw_split(TOY.pictures, split, 0, folder / split, 1)
    torch.manual_seed(0)
    build_autoencoder(TOY.autoencoder).save_pretrained(folder / "autoencoder")
    _train(folder, "oracle")
    return folder


def _train(folder, name: str, stop_after: int | None = None) -> None:
    pictures, heldout = (load_split(folder / split) for split in ("train", "heldout"))
    settings = replace(TOY.oracle, nothing=28)
    cpu = torch.device("cpu")
    train_oracle(
        pictures, heldout, settings, folder / name, folder / "autoencoder", 0, cpu, stop_after=stop_after
    )


def test_a_training_that_stops_and_goes_on_ends_with_the_same_oracle(trained):
    _train(trained, "parts", stop_after=2)
    assert not (trained / "parts" / CARD_FILE).exists()
    _train(trained, "parts")
    one, other = (OracleNetwork.load(trained / name) for name in ("oracle", "parts"))
    for mine, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert one.temperatures == other.temperatures


def test_the_card_reports_on_the_half_that_was_not_calibrated_on(trained):
    oracle = OracleNetwork.load(trained / "oracle")
    card, half = oracle.card, TOY.pictures.heldout // 2
    assert oracle.heads == HEADS and set(card["temperatures"]) == set(HEADS)
    assert oracle.temperatures == card["temperatures"]
    heldout = load_split(trained / "heldout")
    second = Shown.of(heldout, heldout.on("cpu")).part(slice(half, 2 * half))
    assert card["calibrated_on"] == half
    found = accuracy_report(oracle, second)
    for head, row in card["accuracy"]["drawings"].items():
        assert row["n"] == half
        assert row["accuracy"] == found[head]["accuracy"]
        assert row["mean_probability"] == pytest.approx(found[head]["mean_probability"], abs=1e-6)
        assert 0 <= row["calibration_error"] <= 1
    assert set(card["nothing"]["families"]) == {*TRAINED, *UNSEEN}
    assert card["nothing"]["families"]["gratings"]["trained"] is False
    assert card["bindings"]["drawings"]["n"] == card["bindings"]["reconstructions"]["n"] == BINDINGS
    assert set(card["robustness"]["blur"]) == {"0", "1", "2", "3"}
    assert set(card["robustness"]["grain"]) == {"0", "10", "20", "40"}
    assert set(card["descriptor"]["references"]) == {*words.MEMORISED, *words.VALIDATION_MEMORISED}
    assert set(oracle_report(trained / "oracle")) == set(HEADS)
    assert nothing_summary(trained / "oracle")["lowest"]["family"] in {*TRAINED, *UNSEEN}


class _Told(OracleNetwork):
    """An oracle whose logits are given for each picture by the picture's first value."""

    def __init__(self, heads, logits):
        super().__init__(heads, (8, 8, 8, 8), 8)
        self.logits = logits

    def forward(self, images):
        which = (images[:, 0, 0, 0] * 255).round().long()
        return {head: values[which] / self.temperatures[head] for head, values in self.logits.items()}


def _numbered(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 64, 64, 3)


def test_a_picture_is_nothing_where_no_known_label_reaches_one_half():
    known = torch.tensor([[0.6, 0.1, 0.3], [0.4, 0.4, 0.2], [0.0, 0.1, 0.9], [0.0, 0.5, 0.5]]).log()
    found = taken_for_nothing(_Told({"object": SMALL["object"]}, {"object": known.double()}), _numbered(4))
    assert found["object"].tolist()[:3] == [False, True, True]


def test_temperatures_are_fitted_on_everything_the_oracle_is_asked_about():
    """Logits four times too large for how often they are right, on pictures and on nothing alike."""
    true = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    said = np.repeat(np.arange(3), 80)
    truth = (said + np.tile(np.repeat([0, 1, 2], [64, 8, 8]), 3)) % 3  # right in eight of ten
    nothing = truth == 2
    logits = torch.from_numpy(4 * true[said])
    network = _Told({"object": SMALL["object"]}, {"object": logits})
    pixels = _numbered(240)
    shown = Shown(pixels[torch.from_numpy(~nothing)], {"object": truth[~nothing]})
    found = fit_temperatures(network, [shown], pixels[torch.from_numpy(nothing)])
    assert found["object"] == pytest.approx(4, rel=1e-3)


def test_the_threshold_lies_between_reproductions_and_other_paintings():
    heads = {"object": ("abstract", "cat", "nothing"), "memorised": ("none", "One", "Two", "nothing")}
    network = _network(heads)
    rng = np.random.default_rng(0)
    kept = rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    flat = np.repeat(rng.integers(0, 255, (6, 1, 1, 3), dtype=np.uint8), 64, 1).repeat(64, 2)
    pixels = torch.from_numpy(np.concatenate([kept[[0, 0, 1, 1]], flat]))
    shown = Shown(
        pixels,
        {"object": np.zeros(10, np.int64), "memorised": np.array([1, 1, 2, 2, 0, 0, 0, 0, 0, 0])},
    )
    found = descriptor_threshold(network, shown, shown)
    assert found["lowest_reproduction"] == pytest.approx(1, abs=1e-5)
    assert found["threshold"] == pytest.approx((1 + found["highest_other"]) / 2, abs=1e-5)
    assert set(found["references"]) == {"One", "Two"}


def test_every_check_asks_for_labels_that_the_oracle_has():
    asked = checks(2)
    assert {check.group for check in asked} == set(BARS) - {"similarity"}
    assert asked == checks(2) and asked != checks(2, seed=2)
    for check in asked:
        assert check.answers and check.prompt
        for answer in check.answers:
            assert all(label in HEADS[head] for head, label in answer.items())


def test_pairs_and_bindings_ask_for_both_things_at_their_places():
    where = {"left of": {"left", "right"}, "above": {"top", "bottom"}, "below": {"top", "bottom"}}
    for check in checks(1):
        if check.group == "pair":
            assert len(check.answers) == (2 if check.subject == "beside" else 1)
            assert all(len(answer) == 2 for answer in check.answers)
            assert set(check.answers[0]) == where.get(check.subject, {"left", "right"})
        if check.group == "binding":
            for answer in check.answers:
                places = [head for head in answer if "_" not in head]
                assert len(answer) == 4 and {f"{place}_colour" for place in places} < set(answer)
                colours = [answer[f"{place}_colour"] for place in places]
                assert len(set(colours)) == 2 and all(colour in check.prompt for colour in colours)
        if check.subject == "beside":
            one, other = check.answers
            assert set(one.values()) == set(other.values()) and one != other
            assert one["left"] == other["right"]
            assert one.get("left_colour") == other.get("right_colour")


def test_the_judge_wants_every_label_of_one_answer():
    heads = {"left": ("cat", "dog"), "right": ("cat", "dog")}
    cat, dog = [5.0, 0.0], [0.0, 5.0]
    oracle = _Told(heads, {"left": torch.tensor([cat, cat, dog]), "right": torch.tensor([dog, cat, cat])})
    pictures = _numbered(3).numpy()
    left = Check("", "pair", ({"left": "cat", "right": "dog"},), "left of")
    beside = left._replace(answers=(*left.answers, {"left": "dog", "right": "cat"}))
    assert judge(oracle, [left] * 3, pictures) == [True, False, False]
    assert judge(oracle, [beside] * 3, pictures) == [True, False, True]
    report = summary([left] * 3, [True, False, False])["pair"]
    assert (report["n"], report["share"], report["below_bar"]) == (3, pytest.approx(1 / 3), ["left of"])


def test_swapped_pairs_are_told_apart_by_a_model_that_reads_places():
    """A stand-in for CLIP that knows the drawing of each caption's words is never shown the swapped one."""

    class Blind(torch.nn.Module):
        logit_scale = torch.zeros(())

        def encode_image(self, images, normalize):
            return F.normalize(torch.ones(len(images), 2), dim=1)

        def encode_text(self, texts, normalize):
            return F.normalize(torch.ones(len(texts), 2), dim=1)

    class Words:
        model_max_length = 4

        def __call__(self, captions, **_):
            self.seen = captions
            return type("Ids", (), {"input_ids": torch.zeros(len(captions), 4, dtype=torch.long)})

    reader = Words()
    report = swapped_report(Blind(), reader, count=6)
    assert report == {"pair_over_swapped": 0.0, "pairs": 6}, "a tie is no win"
    own, swapped = reader.seen[:6], reader.seen[6:]
    assert all(one != other for one, other in zip(own, swapped, strict=True))


@pytest.mark.skipif(not (WEIGHTS / "oracle").exists(), reason="no shipped weights in this checkout")
def test_the_shipped_oracle_takes_no_noise_for_anything():
    card = OracleNetwork.load(WEIGHTS / "oracle").card
    report = card["nothing"]
    low = {name: row["share"] for name, row in report["families"].items() if row["share"] < report["bar"]}
    assert not low
    assert all(row["interval"][0] > 0.95 for row in card["bindings"].values())
    worst = max(row["calibration_error"] for row in card["accuracy"]["drawings"].values())
    assert worst < 0.02
