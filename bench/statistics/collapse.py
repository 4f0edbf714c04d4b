"""When a method's pictures are pictures no more: on evidence, never on one picture."""

MOST_COLLAPSED = 0.25
"""Up to this share of a role's pictures, beyond the base model's own, may be noise, flat or repetitions."""


def has_collapsed(low: float | None) -> bool:
    """Whether the lower end of a change's interval says that more than `MOST_COLLAPSED` have collapsed.

    The change is that of the share of collapsed pictures against the base model's, on the same prompts and
    noises. Without an interval nothing is said.
    """
    return low is not None and low > MOST_COLLAPSED
