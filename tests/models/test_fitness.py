"""Parts that do not fit one another are one line when a model is found, not an error at every picture."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from erasure_bench.errors import BenchError
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.fitness import check_pipeline, text_length, vocabulary_size
from erasure_bench.models.headers import check_weights, model_shapes

SCHEDULER, TOKENIZER = "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
LEFT_OUT = "left out"


@pytest.fixture
def copied(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


def change(directory, file, values):
    config = json.loads((directory / file).read_text()) | values
    config = {key: value for key, value in config.items() if value != LEFT_OUT}
    (directory / file).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, "a StableDiffusionXLPipeline"),
        (UNET, {"cross_attention_dim": 48}, "attends to text of width 48, the text encoder gives 32"),
        (UNET, {"in_channels": 9}, "takes 9 and gives 4 channels, the autoencoder has 4; inpainting"),
        (VAE, {"latent_channels": 16}, "takes 4 and gives 4 channels, the autoencoder has 16"),
        (VAE, {"_class_name": "VQModel"}, "autoencoder VQModel; valid: AutoencoderKL"),
        (VAE, {"shift_factor": 0.1}, "shifts its latents by 0.1"),
        (UNET, {"sample_size": LEFT_OUT}, "sample_size None: the native side in latents is not known"),
        (UNET, {"sample_size": 0}, "sample_size 0"),
        (UNET, {"block_out_channels": LEFT_OUT}, "unet/config.json: block_out_channels None"),
        (VAE, {"block_out_channels": 3}, "vae/config.json: block_out_channels 3"),
        (TEXT, {"max_position_embeddings": "many"}, "values of the wrong kind: ValueError"),
        (UNET, {"addition_embed_type": "text_time"}, "addition_embed_type .SDXL"),
        (UNET, {"_class_name": "UNet3DConditionModel"}, "denoiser UNet3DConditionModel"),
        (TOKENIZER, {"model_max_length": 77}, "model_max_length is 77, the text encoder has 16 positions"),
        (TEXT, {"vocab_size": 100}, r"tokenizer has \d+ tokens, the text encoder knows 100"),
        (SCHEDULER, {"_class_name": "EDMEulerScheduler"}, "EDMEulerScheduler is not of a model with a DDPM"),
    ],
)
def test_configs_that_do_not_fit(copied, file, values, words):
    check_pipeline(copied)
    change(copied, file, values)

    for check in (check_pipeline, DiffusionModel.from_directory):
        with pytest.raises(BenchError, match=words) as error:
            check(copied)
        assert "\n" not in str(error.value) and str(copied) in str(error.value)


@pytest.mark.parametrize("kind", ["StableDiffusionPipelineSafe", "StableDiffusionImg2ImgPipeline"])
def test_other_samplers_of_the_same_weights_are_the_same_model(tiny_model, copied, kind):
    change(copied, "model_index.json", {"_class_name": kind})
    check_pipeline(copied)
    assert DiffusionModel.from_directory(copied).digest == tiny_model.digest


@pytest.mark.parametrize("config", ["without the length", "without the file", "endless"])
def test_a_tokenizer_without_a_length_takes_the_text_encoders(tiny_model, copied, config):
    if config == "without the file":
        (copied / TOKENIZER).unlink()
    else:
        change(copied, TOKENIZER, {"model_max_length": 10**30 if config == "endless" else LEFT_OUT})
    prompt = "a cat and a dog and a cat and a dog"

    model = DiffusionModel.from_directory(copied)

    assert text_length(copied) == model.tokenizer.model_max_length == 16
    torch.testing.assert_close(model.encode_prompts([prompt]), tiny_model.encode_prompts([prompt]))


def test_the_vocabulary_is_counted_in_either_form(tiny_model, tiny_model_dir, tmp_path):
    tokenizer = tiny_model.tokenizer
    assert vocabulary_size(tiny_model_dir) == len(tokenizer)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/vocab.json").write_text(json.dumps(tokenizer.get_vocab()))
    (tmp_path / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    assert vocabulary_size(tmp_path) == len(tokenizer)


def test_shapes_known_from_configs_are_the_models(tiny_model, tiny_model_dir):
    shapes, own = model_shapes(tiny_model_dir), tiny_model.named_tensors()
    assert shapes.keys() == own.keys()
    assert all(shapes[name].shape == tensor.shape for name, tensor in own.items())


def test_a_tensor_that_the_libraries_would_make_up(copied):
    weights = load_file(copied / UNET_WEIGHTS)
    save_file({name: weights[name] for name in weights if name != "conv_in.bias"}, copied / UNET_WEIGHTS)
    for check in (check_weights, DiffusionModel.from_directory):
        with pytest.raises(BenchError, match=r"unet: the weights lack 1 of the \d+ .* such as conv_in\.bias"):
            check(copied)


def test_a_tensor_of_another_shape(copied):
    weights = load_file(copied / UNET_WEIGHTS)
    save_file(weights | {"conv_in.bias": torch.zeros(3)}, copied / UNET_WEIGHTS)
    with pytest.raises(BenchError, match=r"conv_in\.bias in the shape \(3,\), config.json asks for \(16,\)"):
        check_weights(copied)


def test_a_file_that_is_cut_short(copied):
    content = (copied / UNET_WEIGHTS).read_bytes()
    (copied / UNET_WEIGHTS).write_bytes(content[:-1])
    with pytest.raises(BenchError, match="damaged"):
        check_weights(copied)


def test_a_config_that_no_network_can_be_built_by(copied):
    change(copied, UNET, {"down_block_types": ["NoSuchBlock", "NoSuchBlock"]})
    with pytest.raises(
        BenchError, match=r"config.json: no network can be built by it: .*NoSuchBlock"
    ) as error:
        check_weights(copied)
    assert "\n" not in str(error.value)


def test_attention_of_an_autoencoder_as_older_diffusers_spelt_it(tiny_model, copied):
    path = copied / "vae/diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    for name in list(weights):
        spelt = name
        for new, spelling in old.items():
            spelt = spelt.replace(f".attentions.0.{new}.", f".attentions.0.{spelling}.")
        weights[spelt] = weights.pop(name)
    assert any("proj_attn" in name for name in weights)
    save_file(weights, path)

    model = DiffusionModel.from_directory(copied)

    torch.testing.assert_close(model.vae.state_dict(), tiny_model.vae.state_dict())
