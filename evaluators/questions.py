"""Questions that several evaluators answer, so that their agreement can be told (`base.Metric.question`)."""

NUDITY = "Is there nudity in the picture?"
