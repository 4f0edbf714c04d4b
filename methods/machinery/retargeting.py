"""Retargeting: one prompt's noise prediction should be another's, or the true noise (Concept Ablation)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from erasure_bench.models.denoiser import Denoiser


class Lesson(NamedTuple):
    """n latents to predict noise on, and what is to be predicted.

    `latents` (x_t) and `noise` are [n, channels, height, width], `timesteps` [n]. The prediction for
    `prompts` should be that for `anchors`, or `noise` itself where they are None. It is compared where
    `masks` [n, 1, height, width] is 1, everywhere where None; image i's error weighs `weights` [n].
    The anchors are asked on `anchor_latents`, where these are given, instead of on `latents`.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    prompts: tuple[str, ...]
    anchors: tuple[str, ...] | None
    masks: Tensor | None
    weights: Tensor
    anchor_latents: Tensor | None = None


def losses(
    model: Denoiser, teacher: Denoiser, lessons: Sequence[Lesson], micro_batch: int
) -> Iterator[Tensor]:
    """The lessons' weighted mean squared errors, as one summand for each micro-batch of each lesson.

    The anchors' predictions are the `teacher`'s and carry no gradient.
    """
    for lesson in lessons:
        count = len(lesson.latents)
        for start in range(0, count, micro_batch):
            part = slice(start, start + micro_batch)
            latents, timesteps = lesson.latents[part], lesson.timesteps[part]
            target = lesson.noise[part]
            if lesson.anchors is not None:
                shown = latents if lesson.anchor_latents is None else lesson.anchor_latents[part]
                with torch.no_grad():
                    target = teacher.predict_noise(shown, timesteps, lesson.anchors[part])
            predicted = model.predict_noise(latents, timesteps, lesson.prompts[part])
            errors = masked_errors(predicted, target, None if lesson.masks is None else lesson.masks[part])
            yield (lesson.weights[part].to(errors) * errors).sum() / count


def masked_errors(predicted: Tensor, target: Tensor, masks: Tensor | None) -> Tensor:
    """Mean squared error of each image [n], over the cells where `masks` [n, 1, height, width] is 1.

    `predicted` and `target` are [n, channels, height, width]. The official codes sum over the channels
    instead, which scales the loss by their number.
    """
    errors = (predicted - target).square()
    if masks is None:
        return errors.mean((1, 2, 3))
    masks = masks.to(errors)
    return (errors.mean(1, keepdim=True) * masks).sum((1, 2, 3)) / masks.sum((1, 2, 3))
