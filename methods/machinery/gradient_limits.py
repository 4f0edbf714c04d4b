"""What gets no gradient while a model is trained, although its parameters do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.roles import CROSS_ATTENTION


@contextmanager
def first_token_detached(unet: nn.Module, detached: bool = True) -> Iterator[None]:
    """Within it, the cross-attention's keys and values of token 0 are constants to the gradient.

    Values stay what they were. k_0 = W e_0 without gradient means none from token 0 to W, nor to e_0.
    """
    hooks = [
        module.register_forward_hook(_detach_first)
        for name, module in unet.named_modules()
        if detached and name.endswith(CROSS_ATTENTION.condition_strict)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _detach_first(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return torch.cat([output[:, :1].detach(), output[:, 1:]], dim=1)


@contextmanager
def only_rows_of(model: DiffusionModel, phrases: Sequence[str], last: bool = True) -> Iterator[None]:
    """Within it, no token but those of `phrases` gets a gradient of its embedding, if embeddings are trained.

    Without `last` the last token of each phrase gets none either, unless it is the phrase's only one.
    As in the official codes, AdamW's weight decay still shrinks every row: by lr · decay of it a step.
    """
    embedding: nn.Parameter = model.text_encoder.get_input_embeddings().weight
    if not embedding.requires_grad:
        yield
        return
    tokens = model.tokenizer(list(phrases), add_special_tokens=False).input_ids
    kept = torch.zeros(len(embedding), 1, device=embedding.device, dtype=embedding.dtype)
    rows = tokens if last else [several[:-1] or several for several in tokens]
    kept[sorted({token for several in rows for token in several})] = 1.0
    hook = embedding.register_hook(lambda gradient: gradient * kept)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def masked(parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, a parameter gets a gradient only where its mask, of its shape, is true."""

    def keeping(mask: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient * mask

    hooks = [parameter.register_hook(keeping(masks[name])) for name, parameter in parameters.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
