"""The one sampling loop: every method's images, and ESD's partly denoised latents, come from here.

A model without steps, an autoencoder, draws in one pass from the same noise.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Generator, Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.asking import Layout, Role, laid_out
from erasure_bench.models.batches import BatchSize, is_out_of_memory
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.detours import Detour, Ways
from erasure_bench.models.finishing import Finished, Finishing, Pixels
from erasure_bench.models.guidance import ClassifierFree, Guidance, StepNoise
from erasure_bench.models.image_model import ImageModel
from erasure_bench.models.noise import batch_noise, image_generator
from erasure_bench.models.precision import wider
from erasure_bench.models.schedulers import BETWEEN_TIMESTEPS, OVERRIDES, build_scheduler
from erasure_bench.prompt_suites.suite import SchedulerName

VERSION = "1"
"""Names what this makes: another one is due where that changes (`bench.identity`)."""
CLASSIFIER_FREE = ClassifierFree()


@dataclass(frozen=True)
class ImageRequest:
    """One image to draw: its prompt, its own seed and guidance scale, and its size in pixels.

    `embedding` [tokens, width] stands in the place of the prompt's own, where it is given: what a search
    through the model found. `detour` leaves the usual way from pure noise to the picture.
    """

    prompt: str
    seed: int
    guidance_scale: float
    height: int
    width: int
    embedding: Tensor | None = field(default=None, compare=False)
    detour: Detour | None = field(default=None, compare=False)


class Decoder(ImageModel, Protocol):
    """A model that draws in one pass."""

    def decode(self, noise: Tensor, embeddings: Tensor) -> Tensor:
        """RGB images [n, 3, height, width] in [0, 1] of noise [n, …] and encoded conditions [n, …]."""
        ...


class Drawn(NamedTuple):
    """Pictures on a device: RGB uint8 [n, height, width, 3], and which of them were finite, [n]."""

    pixels: Tensor
    finite: Tensor


class PartlyDenoised(NamedTuple):
    """x_t [n, channels, height, width] after some steps, and the timestep t that it is at."""

    latents: Tensor
    timestep: int


def sample(
    model: ImageModel,
    requests: Sequence[ImageRequest],
    *,
    scheduler: SchedulerName,
    steps: int,
    eta: float = 0.0,
    guidance: Guidance = CLASSIFIER_FREE,
    batch_size: int | BatchSize = 32,
    on_batch: Callable[[int], None] | None = None,
    into: dict[int, Pixels] | None = None,
    keep: Callable[[int, Pixels], None] | None = None,
) -> list[Pixels]:
    """Draws every request; result i, RGB uint8 [height, width, 3], belongs to request i.

    The model is a `Denoiser`, or a `Decoder`, to which steps and guidance scales mean nothing.

    Images of one size are drawn together, at most `batch_size` at a time, with one UNet call a step.
    Which images share a batch changes nothing but kernel rounding: where memory runs out, a batch is
    drawn again in halves, and a `BatchSize` stays as small as that. `on_batch` is told how many images
    each batch has finished. `into` collects the images by their requests' numbers; batches that are all
    in it are not drawn. `keep` is given each image with its request's number, in another thread, while the
    next batch is drawn. Raises BenchError for impossible sizes, steps or η, when not even one image fits
    into memory, and when the model draws something that is not finite; and whatever `keep` raises.
    """
    batch = batch_size if isinstance(batch_size, BatchSize) else BatchSize(batch_size)
    if isinstance(model, Denoiser):
        build_scheduler(model.scheduler_config, scheduler, steps, eta)
    elif guidance != CLASSIFIER_FREE:
        raise BenchError(f"{model.name} draws in one pass: there is no noise prediction to guide")
    for request in requests:
        model.latent_shape(request.height, request.width)
    texts = PromptCache(
        model, [request.prompt for request in requests], shared=(guidance.unconditional_text, *guidance.texts)
    )
    pixels: dict[int, Pixels] = {} if into is None else into

    def tell(finished: Finished) -> None:
        pixels.update(zip(finished.indices, finished.pixels, strict=True))
        batch.drew(len(finished.indices), finished.seconds)
        if on_batch:
            on_batch(len(finished.indices))

    def draw(indices: Sequence[int]) -> Drawn | None:
        together = [requests[index] for index in indices]
        prompts = [request.prompt for request in together]
        if all(index in pixels for index in indices):
            if isinstance(model, Denoiser):  # which texts are encoded together matters to the last bit
                _embeddings(texts, prompts, guidance)
            drawn = None
        else:
            images = _images(
                model,
                texts,
                prompts,
                [image_generator(request.seed) for request in together],
                [request.guidance_scale for request in together],
                shape=model.latent_shape(together[0].height, together[0].width),
                scheduler=scheduler,
                steps=steps,
                eta=eta,
                guidance=guidance,
                found=[request.embedding for request in together],
                detours=[request.detour for request in together],
            )
            drawn = rounded(images)
        texts.used(prompts)
        return drawn

    with Finishing[Drawn](lambda drawn: to_pixels(model, drawn), keep, tell) as finishing:
        for indices in _alike(requests):
            while indices:
                together = indices[: batch.size]
                try:
                    drawn = draw(together)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    fitted = False
                else:
                    fitted = True
                # Outside of the handler, as the error's traceback holds on to all that the batch had
                # allocated.
                if fitted:
                    indices = indices[len(together) :]
                    if drawn is not None:
                        finishing.add(together, drawn)
                else:
                    finishing.wait()
                    batch.ran_out(len(together))
    return [pixels[index] for index in range(len(requests))]


def sample_images(
    model: ImageModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    scheduler: SchedulerName,
    steps: int,
    guidance_scale: float,
    guidance: Guidance = CLASSIFIER_FREE,
) -> Tensor:
    """RGB images [n, 3, height, width] in [0, 1] of the native size, in one batch and unrounded."""
    images = _images(
        model,
        PromptCache(model, prompts),
        prompts,
        [image_generator(seed) for seed in seeds],
        [guidance_scale] * len(prompts),
        shape=model.latent_shape(),
        scheduler=scheduler,
        steps=steps,
        eta=0.0,
        guidance=guidance,
    )
    return images.clone()


def sample_latents(
    model: Denoiser,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    scheduler: SchedulerName,
    steps: int,
    guidance_scale: float | Sequence[float],
    height: int | None = None,
    width: int | None = None,
    eta: float = 0.0,
    guidance: Guidance = CLASSIFIER_FREE,
    latents: Tensor | None = None,
) -> Tensor:
    """Fully denoised latents [n, channels, height/f, width/f] of images of one size, in one batch.

    `guidance_scale` is one for all or one each; sizes are in pixels, None for the native ones.
    `latents` replaces the start noise (unit variance); the seeds then only feed η's noise.
    """
    return _one_batch(
        model,
        prompts,
        seeds,
        guidance_scale,
        height,
        width,
        latents,
        scheduler=scheduler,
        steps=steps,
        eta=eta,
        guidance=guidance,
    ).latents


def partly_denoised(
    model: Denoiser,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    stop: int,
    guidance_scale: float | Sequence[float],
    scheduler: SchedulerName = "ddim",
    eta: float = 0.0,
    guidance: Guidance = CLASSIFIER_FREE,
    height: int | None = None,
    width: int | None = None,
) -> PartlyDenoised:
    """Latents after the first `stop` of `steps` steps, with the timestep that the next step starts from.

    With `stop` 0 they are the start noise. The latents are ordinary tensors without a graph, so
    that a method can train on them. Raises BenchError unless 0 ≤ stop < steps, and for a scheduler
    that steps between the model's timesteps.
    """
    if not 0 <= stop < steps:
        raise BenchError(f"stop after {stop} of {steps} steps: valid: 0 to {steps - 1}")
    if scheduler in BETWEEN_TIMESTEPS:
        able = ", ".join(name for name in OVERRIDES if name not in BETWEEN_TIMESTEPS)
        raise BenchError(
            f"scheduler {scheduler!r} steps between the model's timesteps: nothing can be trained within "
            f"its steps; valid: {able}"
        )
    return _one_batch(
        model,
        prompts,
        seeds,
        guidance_scale,
        height,
        width,
        None,
        scheduler=scheduler,
        steps=steps,
        eta=eta,
        guidance=guidance,
        stop=stop,
    )


class PromptCache:
    """Text embeddings of one sampling call: every text is encoded once and kept while it is needed.

    `prompts` are all uses to come, `shared` the texts that every batch needs.
    """

    def __init__(self, model: ImageModel, prompts: Iterable[str], shared: Sequence[str] = ()) -> None:
        self._model = model
        self._uses = Counter(prompts)
        self._shared = frozenset(shared)
        self._embeddings: dict[str, Tensor] = {}

    def embeddings(self, texts: Sequence[str]) -> Tensor:
        """[n, tokens, width], row i for text i."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._embeddings]:
            self._embeddings.update(zip(new, self._model.encode_prompts(new), strict=True))
        return torch.stack([self._embeddings[text] for text in texts])

    def used(self, prompts: Iterable[str]) -> None:
        """Forgets the prompts that no later image needs: thousands of them would fill a GPU."""
        self._uses.subtract(prompts)
        for text in [text for text in self._embeddings if self._uses[text] <= 0 and text not in self._shared]:
            del self._embeddings[text]


def _alike(requests: Sequence[ImageRequest]) -> list[list[int]]:
    """Numbers of the requests of one size and the same steps, in order of first appearance."""
    groups: defaultdict[tuple[int, int, Hashable], list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        steps = request.detour and request.detour.steps
        groups[request.height, request.width, steps].append(index)
    return list(groups.values())


@torch.inference_mode()
def _images(
    model: ImageModel,
    texts: PromptCache,
    prompts: Sequence[str],
    generators: Sequence[Generator],
    scales: Sequence[float],
    *,
    shape: Sequence[int],
    **settings: Any,
) -> Tensor:
    """RGB images [n, 3, height, width] in [0, 1]; `settings` are those of `_denoise`."""
    if isinstance(model, Denoiser):
        denoised = _denoise(model, texts, prompts, generators, scales, shape=shape, **settings)
        return model.decode_latents(denoised.latents)
    decoder = cast(Decoder, model)
    return decoder.decode(batch_noise(generators, shape), texts.embeddings(prompts))


def decode_pixels(model: Denoiser, latents: Tensor) -> list[Pixels]:
    """RGB uint8 images [height, width, 3] of latents; raises BenchError where one is not finite."""
    with torch.inference_mode():
        return as_pixels(model, model.decode_latents(latents))


def as_pixels(model: ImageModel, images: Tensor) -> list[Pixels]:
    """RGB uint8 images [height, width, 3] of float ones; raises BenchError where one is not finite."""
    return to_pixels(model, rounded(images))


@torch.inference_mode()
def rounded(images: Tensor) -> Drawn:
    """Float images [n, 3, height, width] as pixels, on their device; waits for none of them."""
    levels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return Drawn(levels, images.isfinite().flatten(1).all(1))


@torch.inference_mode()
def to_pixels(model: ImageModel, drawn: Drawn) -> list[Pixels]:
    """RGB uint8 images [height, width, 3]; raises BenchError where one is not finite."""
    finite = drawn.finite.cpu()
    if broken := int((~finite).sum()):
        wider_dtype = wider(model.dtype)
        narrow = f", or {model.dtype} is too narrow (use {wider_dtype})" if wider_dtype else ""
        raise BenchError(
            f"{broken} of {len(finite)} images of {model.name} are not finite: "
            f"the weights that they were drawn with are broken{narrow}"
        )
    return list(drawn.pixels.cpu().numpy())


def _one_batch(
    model: Denoiser,
    prompts: Sequence[str],
    seeds: Sequence[int],
    guidance_scale: float | Sequence[float],
    height: int | None,
    width: int | None,
    latents: Tensor | None,
    **settings: Any,
) -> PartlyDenoised:
    if isinstance(guidance_scale, int | float):
        guidance_scale = [guidance_scale] * len(prompts)
    if not prompts or not len(prompts) == len(seeds) == len(guidance_scale):
        raise ValueError(f"{len(prompts)} prompts, {len(seeds)} seeds, {len(guidance_scale)} guidance scales")
    texts = PromptCache(model, prompts)
    shape = model.latent_shape(height, width) if latents is None else tuple(latents.shape[1:])
    generators = [image_generator(seed) for seed in seeds]
    result = _denoise(
        model, texts, prompts, generators, guidance_scale, shape=shape, start=latents, **settings
    )
    # Tensors made in inference mode cannot take part in training; a copy made outside it can.
    return PartlyDenoised(result.latents.clone(), result.timestep)


@torch.inference_mode()
def _embeddings(texts: PromptCache, prompts: Sequence[str], guidance: Guidance) -> Tensor:
    """Of every row's text."""
    return texts.embeddings(_rows(prompts, guidance))


def _rows(prompts: Sequence[str], guidance: Guidance) -> tuple[str, ...]:
    """The unconditional text, the prompts and each of the guidance's texts, all as many as the prompts."""
    count = len(prompts)
    further = (text for text in guidance.texts for _ in range(count))
    return (*[guidance.unconditional_text] * count, *prompts, *further)


def _layout(prompts: Sequence[str], guidance: Guidance) -> Layout:
    extra: Role = "extra"
    roles = ("unconditional", "conditional", *(extra for _ in guidance.texts))
    return Layout(roles, _rows(prompts, guidance))


@torch.inference_mode()
def _denoise(
    model: Denoiser,
    texts: PromptCache,
    prompts: Sequence[str],
    generators: Sequence[Generator],
    scales: Sequence[float],
    *,
    shape: Sequence[int],
    scheduler: SchedulerName,
    steps: int,
    eta: float,
    guidance: Guidance,
    stop: int | None = None,
    start: Tensor | None = None,
    found: Sequence[Tensor | None] = (),
    detours: Sequence[Detour | None] = (),
) -> PartlyDenoised:
    """The loop. `stop` counts model calls; None runs to the end, where the timestep is 0.

    `found` are embeddings in the place of the prompts' own, `detours` all of the same steps.
    """
    count = len(prompts)
    schedule = build_scheduler(model.scheduler_config, scheduler, steps, eta)
    timesteps: list[Any] = schedule.timesteps.tolist()
    noise = batch_noise(generators, shape) if start is None else start
    precision = torch.promote_types(model.dtype, torch.float32)
    latents = noise.to(model.device, precision) * schedule.init_noise_sigma
    scale = torch.tensor(scales, device=model.device, dtype=precision)[:, None, None, None]
    embeddings = _embeddings(texts, prompts, guidance)
    layout = _layout(prompts, guidance)
    for row, embedding in enumerate(found):
        if embedding is not None:
            embeddings[count + row] = embedding.to(embeddings)
    way = Ways(detours, model)
    latents = way.begin(latents)
    state: Any = None
    for index, timestep in enumerate(timesteps[:stop]):
        if index < way.first:
            if eta:  # who made these steps has drawn their noise
                batch_noise(generators, shape)
            continue
        scaled = schedule.scale_model_input(latents, timestep)
        repeated = scaled.repeat(2 + len(guidance.texts), 1, 1, 1)
        # From pure noise every prediction of ε is x_t itself: guidance then acts on what the network says.
        pure_noise = model.is_pure_noise(timestep)
        predict = model.predict_output if pure_noise else model.predict_noise
        with laid_out(replace(layout, index=index, steps=len(timesteps))):
            predictions = predict(repeated, timestep, embeddings)
        unconditional, conditional, *extra = predictions.split(count)
        guided = guidance.combine(
            StepNoise(unconditional, conditional, tuple(extra), scale, index, len(timesteps)), state
        )
        state = guided.state
        output = guided.noise if pure_noise else model.network_output(guided.noise, scaled, timestep)
        following = timesteps[index + 1] if index + 1 < len(timesteps) else None
        options: dict[str, Any] = {"return_dict": False}
        if eta:
            options |= {"eta": eta, "variance_noise": batch_noise(generators, shape).to(latents)}
        if (rule := way.rule) is not None:
            fresh = batch_noise(generators, shape).to(latents)
            latents = rule.step(model, guided.noise, latents, timestep, following, fresh)
        else:
            latents = schedule.step(output, timestep, latents, **options)[0]
        latents = way.after(latents, following)
    return PartlyDenoised(latents, 0 if stop is None else timesteps[stop])
