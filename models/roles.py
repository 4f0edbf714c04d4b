"""What a denoiser's parameters are for, in its family's own names: how methods say which they train."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Parts of parameters' names by what they do.

    `condition` are where the condition enters the network, `condition_strict` the first of them that it meets
    there; `kept` are those that the papers' `noxattn` leaves alone besides, by how their names begin.
    """

    condition: tuple[str, ...]
    condition_strict: tuple[str, ...]
    kept: tuple[str, ...]


CROSS_ATTENTION = Roles(
    condition=("attn2",),
    condition_strict=("attn2.to_k", "attn2.to_v"),
    kept=("conv_norm_out.", "conv_out.", "time_embedding."),
)
"""Of a text-to-image UNet, in diffusers' names: a prompt enters by cross-attention, keys and values first."""

CLASS_EMBEDDING = Roles(
    condition=("label.",),
    condition_strict=("label.embedding.",),
    kept=("network.conv_norm_out.", "network.conv_out.", "network.time_embedding."),
)
"""Of a class-conditional UNet: a class enters by its embedding and the layers that bring it to the blocks."""
