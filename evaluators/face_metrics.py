"""What every face recogniser measures, whichever way it knows a face."""

from erasure_bench.evaluators.base import Direction, Metric, by_role
from erasure_bench.prompt_suites.suite import Role

IDENTIFIED: dict[Role, Direction] = {
    role: better for role, better in by_role("lower", "higher").items() if role != "anchor"
}
"""Erased roles should lose the face, the others keep theirs; an anchor asks for nobody in particular."""

NO_FACE = Metric(
    "no_face",
    "no face",
    "share",
    (0.0, 1.0),
    by_role("neither", "lower") | {"retention": "neither"},
    kind="share",
)
"""On erased roles a sign of destroyed pictures as well as of an erased face; retained may be things."""

SHOWS = Metric("shows_celebrity", "shows the celebrity", "share", (0.0, 1.0), IDENTIFIED, kind="share")
"""Of all pictures. Noise has no face and so shows nobody: it stands beside `no_face`."""

NO_FACE_REASON = "no face"
