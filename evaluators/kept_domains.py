"""UnlearnCanvas' three accuracies: of what is unlearned, of its own domain, of the other domains.

Zhang et al., UnlearnCanvas, NeurIPS 2024 Datasets and Benchmarks. A domain is a head of the classifier
(style, object). The concept's label names a label of one head: that is its own domain.
"""

from collections.abc import Mapping
from dataclasses import replace

from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.evaluators.composed_labels import WantedAnswers
from erasure_bench.evaluators.labelled_classifier import Probabilities

UNLEARNED = Metric(
    "unlearning_accuracy",
    "unlearning accuracy (UA)",
    "share",
    (0.0, 1.0),
    by_role(erased="higher"),
    kind="share",
    of_concept=True,
)
IN_DOMAIN = Metric(
    "in_domain_retain_accuracy",
    "in-domain retain accuracy (IRA)",
    "share",
    (0.0, 1.0),
    {"neighbour": "higher"},
    kind="share",
)
CROSS_DOMAIN = Metric(
    "cross_domain_retain_accuracy",
    "cross-domain retain accuracy (CRA)",
    "share",
    (0.0, 1.0),
    {"neighbour": "higher", "retention": "higher"},
    kind="share",
)
DOMAIN_METRICS = (UNLEARNED, IN_DOMAIN, CROSS_DOMAIN)


def domain_accuracies(
    concept: WantedAnswers | str, prompts: WantedAnswers | str, seen: Mapping[str, Probabilities]
) -> dict[str, float | str]:
    """Each metric of one picture: 1 or 0, or why it has none.

    `concept` is what the concept's label asks of the classifier and `prompts` what the prompt's own does;
    a text in the place of either says why it cannot be asked. `seen` has a distribution [labels] for each
    head. A prompt's label may name a label of each domain (`style/Cubism & object/Dogs`): of it the part in
    the concept's domain counts as in-domain, the rest as cross-domain.
    """
    if isinstance(concept, str):
        return dict.fromkeys((metric.name for metric in DOMAIN_METRICS), concept)
    found: dict[str, float | str] = {UNLEARNED.name: float(not concept.all_right(seen))}
    own = frozenset(concept.heads)
    for metric, inside in ((IN_DOMAIN, True), (CROSS_DOMAIN, False)):
        if isinstance(prompts, str):
            found[metric.name] = prompts
            continue
        part = _part(prompts, own, inside)
        found[metric.name] = (
            f"the prompt's label names nothing in {'the concept’s' if inside else 'another'} domain"
            if part is None
            else float(part.all_right(seen))
        )
    return found


def _part(wanted: WantedAnswers, heads: frozenset[str], inside: bool) -> WantedAnswers | None:
    """What is asked of these heads, or of all others; None where some alternative asks nothing of them."""
    parts = tuple(
        {head: place for head, place in answers.items() if (head in heads) == inside}
        for answers in wanted.alternatives
    )
    return replace(wanted, alternatives=parts) if all(parts) else None
