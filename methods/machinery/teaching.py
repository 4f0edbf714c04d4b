"""Training a class-conditional model from fresh weights on labelled pictures: a base, or one without a class.

VAE     −ELBO(x, c)                                          summed over pixels, mean over the batch
DDPM    ‖ε − ε_θ(√ᾱ_t x + √(1−ᾱ_t) ε, c or ∅, t)‖²           summed over channels and places, likewise
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.machinery.training import Training
from erasure_bench.models.conditional.ddpm import ConditionalDDPM
from erasure_bench.models.conditional.folder import ClassModel, build
from erasure_bench.models.conditional.recipes import Recipe
from erasure_bench.models.datasets.base import Labelled, LabelledParts
from erasure_bench.models.generative import generative_of
from erasure_bench.models.seeding import seeded


def taught(parts: LabelledParts, recipe: Recipe) -> Labelled:
    """The pictures that a recipe trains on: the training part, or both."""
    return parts.train.joined(parts.held_out) if recipe.everything else parts.train


def teach(model: ClassModel, pictures: Labelled, recipe: Recipe, context: EraseContext) -> Training:
    """The training, ended: its `tensors` are the weights that the recipe gives, from fresh ones.

    The fresh weights and everything random after them follow from the context's seed. The model's own weights
    are not looked at, and are back in it afterwards. Raises what `Training` raises.
    """
    parameters = select(model.parts, "full")
    (part, network), *_ = model.parts.items()
    fresh = build(model.description, context.seed)
    tuning = Training(
        parameters,
        device=model.device,
        learning_rate=recipe.learning_rate,
        steps=recipe.steps,
        context=context,
        clip_norm=recipe.clip_norm,
        ema_decay=recipe.ema_decay,
        ema_warm_up=True,
        start={f"{part}.{name}": tensor for name, tensor in fresh.state_dict().items()},
    )
    examples, classes = _as_the_network_has_them(model, pictures)
    with tuning, _in_training_mode(network):
        for _ in tuning:
            with seeded(integers(tuning.generator, 0, 2**62, 1)[0], model.device):
                loss = batch_loss(model, examples, classes, recipe, tuning.generator)
                tuning.minimise([loss])
    return tuning


def batch_loss(
    model: ClassModel, examples: Tensor, classes: Tensor, recipe: Recipe, generator: Generator
) -> Tensor:
    """The mean loss of one batch of examples [n, …] with their encoded classes [n, 1, width]."""
    count = recipe.batch_size
    rows = integers(generator, 0, len(examples), count)
    batch, encoded = examples[rows], classes[rows]
    generative = generative_of(model, _draws_nothing)
    if isinstance(model, ConditionalDDPM):
        if recipe.mirrored:
            turned = torch.rand(count, generator=generator) < recipe.mirrored
            batch = batch.where(~turned[:, None, None, None], batch.flip(-1))
        dropped = torch.rand(count, generator=generator) < recipe.label_dropout
        none = model.encode_prompts([""])
        encoded = encoded.where(~dropped[:, None, None].to(encoded.device), none)
    terms = timesteps(generative.terms, count, recipe.antithetic, generator)
    return generative.elbo_loss(batch, encoded, terms, generative.noise_for(batch, generator)).mean()


def timesteps(terms: int, count: int, antithetic: bool, generator: Generator) -> Tensor:
    """`count` numbers of 0 … `terms` − 1, uniform; `antithetic` ones in pairs that add up to `terms` − 1."""
    if not antithetic:
        return torch.randint(terms, (count,), generator=generator)
    half = torch.randint(terms, ((count + 1) // 2,), generator=generator)
    return torch.cat([half, terms - 1 - half])[:count]


def _as_the_network_has_them(model: ClassModel, pictures: Labelled) -> tuple[Tensor, Tensor]:
    """Examples [n, …] on the CPU, and encoded classes [n, 1, width] on the model's device."""
    pixels = torch.from_numpy(pictures.pixels).float() / 255
    examples = model.encode_images(pixels.expand(-1, 3, -1, -1)).cpu()
    by_label = model.encode_prompts(model.classes)
    return examples, by_label[torch.from_numpy(pictures.labels).to(by_label.device)]


def _draws_nothing(prompts: object, seed: int) -> Tensor:
    raise AssertionError("a model is trained on pictures that are given")


@contextmanager
def _in_training_mode(network: torch.nn.Module) -> Iterator[None]:
    """Dropout is on."""
    network.train()
    try:
        yield
    finally:
        network.eval()
