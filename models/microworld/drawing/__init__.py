"""Drawn, captioned and labelled 64x64 pictures of everything in the microworld vocabulary."""

from erasure_bench.models.microworld.drawing.captions import caption
from erasure_bench.models.microworld.drawing.mixture import sample_scene
from erasure_bench.models.microworld.drawing.render import contact_sheet, draw
from erasure_bench.models.microworld.drawing.scenes import HEADS, Labels, Scene, Thing, labels

__all__ = ["HEADS", "Labels", "Scene", "Thing", "caption", "contact_sheet", "draw", "labels", "sample_scene"]
