"""The model's parts do what diffusers' own classes do with the same weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionPipeline

from erasure_bench.errors import BenchError
from erasure_bench.models.diffusion_model import DiffusionModel

PROMPTS = ["a cat", "a dog that is far too long for the sixteen tokens of this model", ""]


@pytest.fixture
def latents():
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def pipeline(directory):
    loaded = StableDiffusionPipeline.from_pretrained(directory)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def edited_copy(source: Path, target: Path, file: str, **values) -> Path:
    shutil.copytree(source, target)
    config = json.loads((target / file).read_text())
    (target / file).write_text(json.dumps(config | values))
    return target


def test_geometry_is_read_from_the_configs(tiny_model):
    assert (tiny_model.resolution, tiny_model.latent_factor, tiny_model.latent_channels) == (64, 8, 4)
    assert tiny_model.size_multiple == 16
    assert tiny_model.num_train_timesteps == 1000
    assert tiny_model.latent_shape(32, 96) == (4, 4, 12)


def test_prompts_are_encoded_as_the_pipeline_encodes_them(tiny_model, tiny_model_dir):
    expected, _ = pipeline(tiny_model_dir).encode_prompt(PROMPTS, "cpu", 1, False)

    torch.testing.assert_close(tiny_model.encode_prompts(PROMPTS), expected)


def test_prompt_embeddings_are_differentiable_when_asked(tiny_model):
    assert not tiny_model.encode_prompts(["a cat"]).requires_grad
    tiny_model.text_encoder.requires_grad_(True)

    tiny_model.encode_prompts(["a cat"]).square().sum().backward()

    gradients = [parameter.grad for parameter in tiny_model.text_encoder.parameters()]
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


def test_alphas_and_added_noise_are_the_ddpm_schedulers(tiny_model, latents):
    ddpm = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    noise, timesteps = torch.randn_like(latents), torch.tensor([0, 500, 999])

    torch.testing.assert_close(tiny_model.alphas_cumprod, ddpm.alphas_cumprod)
    torch.testing.assert_close(
        tiny_model.add_noise(latents, noise, timesteps), ddpm.add_noise(latents, noise, timesteps)
    )


def test_noise_prediction_is_the_unets(tiny_model, latents):
    timesteps = torch.tensor([3, 400, 990])
    embeddings = tiny_model.encode_prompts(PROMPTS)

    predicted = tiny_model.predict_noise(latents, timesteps, PROMPTS)

    torch.testing.assert_close(predicted, tiny_model.unet(latents, timesteps, embeddings).sample)
    torch.testing.assert_close(predicted[1:2], tiny_model.predict_noise(latents[1:2], 400, PROMPTS[1]))
    torch.testing.assert_close(predicted, tiny_model.predict_noise(latents, timesteps, embeddings))


def test_v_predictions_become_the_noise_that_ddim_takes_them_for(tiny_v_model_dir, latents):
    model = DiffusionModel.from_directory(tiny_v_model_dir)
    assert model.prediction_type == "v_prediction"
    v = model.unet(latents, 700, model.encode_prompts(PROMPTS)).sample
    scheduler = DDIMScheduler.from_pretrained(tiny_v_model_dir, subfolder="scheduler")
    scheduler.set_timesteps(10)
    clean = scheduler.step(v, 700, latents).pred_original_sample
    rate = scheduler.alphas_cumprod[700]

    noise = model.predict_noise(latents, 700, PROMPTS)

    expected = (latents - rate.sqrt() * clean) / (1 - rate).sqrt()
    torch.testing.assert_close(noise, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.network_output(noise, latents, 700), v, atol=1e-4, rtol=1e-4)


def test_noise_pair_is_two_single_predictions(tiny_model, latents):
    timesteps = torch.tensor([10, 20, 30])

    pair = tiny_model.predict_noise_pair(latents, timesteps, "a cat")

    torch.testing.assert_close(pair.unconditional, tiny_model.predict_noise(latents, timesteps, ""))
    torch.testing.assert_close(pair.conditional, tiny_model.predict_noise(latents, timesteps, "a cat"))
    assert (pair.unconditional - pair.conditional).abs().max() > 1e-2


@pytest.mark.parametrize("fixture", ["tiny_model_dir", "tiny_taesd_model_dir"])
def test_images_are_encoded_and_decoded_as_the_autoencoder_does(fixture, request, latents):
    directory = request.getfixturevalue(fixture)
    model, reference = DiffusionModel.from_directory(directory), pipeline(directory)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    encoded = reference.vae.encode(reference.image_processor.preprocess(images))
    expected = encoded.latents if fixture == "tiny_taesd_model_dir" else encoded.latent_dist.mean
    scaling = reference.vae.config.scaling_factor

    with torch.no_grad():
        torch.testing.assert_close(model.encode_images(images), expected * scaling)
        decoded = reference.vae.decode(latents / scaling).sample
        torch.testing.assert_close(
            model.decode_latents(latents), reference.image_processor.postprocess(decoded, output_type="pt")
        )


def test_frozen_copy_does_not_follow_the_model(tiny_model, latents):
    frozen = tiny_model.frozen_copy()
    before = tiny_model.predict_noise(latents, 10, "a cat")

    with torch.no_grad():
        for tensor in tiny_model.named_tensors().values():
            tensor.mul_(1.5)

    torch.testing.assert_close(frozen.predict_noise(latents, 10, "a cat"), before, rtol=0, atol=0)
    assert (tiny_model.predict_noise(latents, 10, "a cat") - before).abs().max() > 1e-3
    assert frozen.vae is tiny_model.vae


def test_named_tensors_are_the_unets_and_the_text_encoders(tiny_model):
    names = tiny_model.named_tensors()

    assert {name.split(".")[0] for name in names} == {"unet", "text_encoder"}
    assert names["unet.conv_in.weight"] is tiny_model.unet.conv_in.weight
    assert not any("text_model." in name for name in names)
    assert not any(tensor.requires_grad for tensor in names.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes_stay_close_to_fp32(tiny_model, tiny_model_dir, latents, dtype):
    narrow = DiffusionModel.from_directory(tiny_model_dir, dtype=dtype)

    predicted = narrow.predict_noise(latents, 500, "a cat")

    assert narrow.unet.conv_in.weight.dtype == dtype
    assert predicted.dtype == torch.float32
    expected = tiny_model.predict_noise(latents, 500, "a cat")
    assert (predicted - expected).norm() < 0.05 * expected.norm()


def test_double_precision_is_kept_for_gradient_checks(tiny_model_dir, latents):
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)

    assert model.predict_noise(latents.double(), 500, "a cat").dtype == torch.float64


def test_a_directory_that_lacks_weights_says_which(tiny_model_dir, tmp_path):
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    (tmp_path / "model/unet/diffusion_pytorch_model.safetensors").unlink()

    with pytest.raises(BenchError, match=r"missing unet/diffusion_pytorch_model\.safetensors"):
        DiffusionModel.from_directory(tmp_path / "model")


def test_damaged_weights_are_one_line(tiny_model_dir, tmp_path):
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    (tmp_path / "model/unet/diffusion_pytorch_model.safetensors").write_bytes(b"not safetensors")

    with pytest.raises(BenchError, match="neither a safetensors file nor") as caught:
        DiffusionModel.from_directory(tmp_path / "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, "StableDiffusionXLPipeline"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "prediction_type 'sample'"),
        (
            "scheduler/scheduler_config.json",
            {"rescale_betas_zero_snr": True},
            "rescale_betas_zero_snr with prediction_type epsilon",
        ),
        ("vae/config.json", {"_class_name": "VQModel"}, "VQModel"),
    ],
)
def test_other_kinds_of_model_are_refused(tiny_model_dir, tmp_path, file, values, message):
    directory = edited_copy(tiny_model_dir, tmp_path / "model", file, **values)

    with pytest.raises(BenchError, match=message):
        DiffusionModel.from_directory(directory)


def test_sizes_that_the_autoencoder_cannot_make_are_refused(tiny_model):
    with pytest.raises(BenchError, match="multiples of 8 pixels"):
        tiny_model.latent_shape(60, 64)
