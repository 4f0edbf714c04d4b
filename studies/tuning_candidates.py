"""The candidates for the `microworld` presets that `python -m studies.tune_presets --all` tries.

A small grid for each method around what has worked before. A candidate names everything that its grid varies;
what it does not name is the present preset's, so a grid must hold all that tuning may change.
"""

import itertools
from collections.abc import Iterable, Mapping

Candidates = tuple[str, ...]


def grid(**values: Iterable[object]) -> Candidates:
    """All combinations, such as `eta=4 steps=150`; the first value of each comes first."""
    return tuple(
        " ".join(f"{name}={value}" for name, value in zip(values, combination, strict=True))
        for combination in itertools.product(*values.values())
    )


_ABLATION = grid(steps=(50, 70, 30, 100))
_LATER, _EARLIER = {"warmup_steps": (5,)}, {"warmup_steps": (3,)}

CANDIDATES: Mapping[str, Candidates] = {
    # nothing to set, or a level that is what it is by its numbers: measured as they are
    "negative-prompt": (),
    "sld-weak": (),
    "sld-weak-diffusers": (),
    "sld-max": (),
    "sld-medium": grid(**_EARLIER, threshold=(0.1, 0.05, 0.2)) + grid(**_LATER, threshold=(0.1, 0.2)),
    "sld-strong": grid(**_EARLIER, threshold=(0.1, 0.05, 0.2)) + grid(**_LATER, threshold=(0.1, 0.2)),
    "esd-x": grid(learning_rate=(4e-4, 2e-4, 8e-4), steps=(100, 200)),
    "esd-x-strict": grid(learning_rate=(4e-4, 2e-4, 8e-4), steps=(200, 100)),
    "esd-u": grid(eta=(4.0, 2.0), learning_rate=(2e-4, 4e-4), steps=(300, 150)),
    "esd-all": grid(eta=(4.0, 2.0, 6.0), learning_rate=(2e-4, 4e-4), steps=(150, 300)),
    "ca-model": _ABLATION,
    "ca-noise": _ABLATION,
    "ca-reverse": _ABLATION,
    "loss-max": grid(penalty=(0.001, 0.003), learning_rate=(5e-4, 1e-3, 2e-4), steps=(100,)),
    "sa": grid(ewc_weight=(0.05, 0.2), learning_rate=(2e-4, 4e-4), steps=(200,))
    + grid(ewc_weight=(0.05,), learning_rate=(2e-4, 4e-4), steps=(120,)),
    "uce": grid(keep_scale=(8.0, 4.0, 2.0, 16.0, 1.0)),
    "speed": grid(
        matrices=("kv", "v"),
        retain=("neighbours", "both"),
        retained_tokens=("all", "last"),
        keep_scale=(1.0, 0.1),
    ),
    "rece": grid(keep_scale=(8.0, 4.0, 16.0), retain_scale=(1.0, 0.1, 4.0), rounds=(1, 2)),
    "adavd": grid(tokens=("last-to-end", "last"), rows=("both", "conditional"), centre=(0.88, 0.93)),
    "safree": grid(padding=("true",), self_validating=("false",), sensitivity=(0.01, 0.0))
    + grid(padding=("true",), self_validating=("true",), of_steps=(50, 10)),
    "hirm": grid(norm=(100.0, 50.0, 200.0), learning_rate=(1e-3, 5e-4)),
    "spm": grid(learning_rate=(3e-2, 1e-2), anchoring=(1.0, 10.0), steps=(60, 120)),
    "salun": grid(learning_rate=(2e-4, 1e-4, 4e-4), remain_weight=(0.5, 1.0)),
    "erasediff": grid(learning_rate=(2e-4, 1e-4), forget_weight=(1.0, 0.5)),
    "advunlearn": grid(learning_rate=(2e-4, 1e-4), eta=(1.0, 2.0)),
    "eap": grid(learning_rate=(4e-4, 2e-4), eta=(2.0, 1.0), parameters=("xattn", "noxattn")),
    "age": grid(learning_rate=(1e-3, 4e-4), eta=(0.0, 1.0), parameters=("xattn",)),
    "fmn": grid(learning_rate=(2e-4, 3e-4, 1e-4, 4e-4), end_tokens=("true",))
    + grid(learning_rate=(1e-4, 5e-5), end_tokens=("false",)),
    "concept-prune": grid(row_share=(0.3, 0.2, 0.4, 0.1), skilled_steps=(10, 20)),
    "receler": grid(learning_rate=(5e-3, 1e-2), eta=(2.0, 1.0), mask_weight=(3e-5, 3e-4)),
    "mace": grid(learning_rate=(1e-3, 3e-3, 1e-2), refine_prior=(1.0, 10.0), fuse_prior=(1.0,)),
    "stereo": grid(learning_rate=(6e-4, 4e-4), away=(2.0, 3.0), trained=("all", "phrase")),
}
"""Method -> options, the most promising first; the present preset is tried before them in any case."""
