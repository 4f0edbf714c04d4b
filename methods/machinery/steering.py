"""The text that guidance steers away from."""

from collections.abc import Sequence

from erasure_bench.errors import BenchError
from erasure_bench.methods.edit import check_concepts
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.prompt_suites.concepts import Concept


def steered_away_from(model: Denoiser, concepts: Sequence[Concept], prefix: str = "") -> str:
    """The concepts' words, joined by commas, behind `prefix`; of a model that is asked by classes the class.

    Such a model knows nothing but its classes' names: no prefix, and raises BenchError for several concepts.
    """
    check_concepts(concepts)
    words = [concept.steer_away_from for concept in concepts]
    if not model.classes:
        return prefix + ", ".join(words)
    if len(words) > 1:
        raise BenchError(
            f"{model.name} is asked by one class at a time, and so guidance can lead away from one: got "
            f"{', '.join(words)} (--concepts: one by one)"
        )
    return words[0]
