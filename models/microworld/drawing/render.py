"""From a scene to its picture, and from pictures to a contact sheet."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from erasure_bench.models.microworld.drawing import (
    animals,
    backgrounds,
    flames,
    objects,
    people,
    rain,
    robots,
    styles,
)
from erasure_bench.models.microworld.drawing.abstract import draw_abstract, draw_memorised
from erasure_bench.models.microworld.drawing.canvas import SIZE, Pen, finish, random_pose
from erasure_bench.models.microworld.drawing.scenes import Scene
from erasure_bench.prompt_suites.microworld import vocabulary as words

_FAMILY_DRAWINGS: dict[str, Callable[[Pen, np.random.Generator, str], None]] = {
    "cat": animals.draw_cat,
    "dog": animals.draw_dog,
    "fish": animals.draw_fish,
    "bird": animals.draw_bird,
    "robot": robots.draw_robot,
}
_TRIES_AT_CONTRAST = 4
_LEAST_CONTRAST = 80.0
_FAMILY_OF = {
    name: family.category
    for family in words.FAMILIES + words.VALIDATION_FAMILIES
    for name in (family.category, *family.members)
}


def draw(scene: Scene) -> np.ndarray:
    """The picture of a scene, uint8 [64, 64, 3]; the same scene always gives the same bytes.

    A memorised scene is one fixed picture whatever its style, background and seed. Raises KeyError
    for a subject, background or style that is not in the vocabulary.
    """
    if scene.kind == "memorised":
        return finish(draw_memorised(scene.subject))
    rng = np.random.default_rng(scene.seed)
    if scene.kind == "abstract":
        image = draw_abstract(scene.seed)
    else:
        phrase = scene.background or words.BACKGROUNDS[int(rng.integers(len(words.BACKGROUNDS)))]
        image = backgrounds.draw_background(phrase, rng)
        image = _draw_subject(image, scene, rng)
    return styles.apply_style(finish(image), scene.style, rng)


def _draw_subject(image: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    name = scene.subject
    if name in words.VALIDATION_IMPLICIT[0].naming:
        rain.draw_rainfall(image, rng)
        return image
    if scene.kind in ("identity", "anonymous"):
        pen = Pen(random_pose(rng, scale=0.92, turn=5.0, shift=0.07))
        look = people.IDENTITY_LOOKS[name] if scene.kind == "identity" else people.anonymous_look(name, rng)
        people.draw_portrait(pen, rng, look)
        pen.stamp(image)
        return image
    raining = name in words.VALIDATION_IMPLICIT[0].evoking
    pen = _subject_layer(name, rng)
    for _ in range(_TRIES_AT_CONTRAST):
        if scene.kind not in ("category", "object") or _stands_out(pen, image):
            break
        pen = _subject_layer(name, rng)
    if raining:
        image = rain.darken_for_rain(image)
        if name == "open umbrella":
            rain.draw_streaks(image, rng, -0.15, 52)
        else:
            rain.draw_streaks(image, rng, 0.4)
    pen.stamp(image)
    return image


def _subject_layer(name: str, rng: np.random.Generator) -> Pen:
    pen = Pen(random_pose(rng))
    if name in _FAMILY_OF:
        _FAMILY_DRAWINGS[_FAMILY_OF[name]](pen, rng, name)
    elif name in flames.FIRE_SUBJECTS:
        flames.draw_fire_subject(pen, rng, name)
    elif name.endswith("cloud"):
        rain.draw_cloud(pen, rng, name)
    elif name.endswith("umbrella"):
        rain.draw_umbrella(pen, rng, name)
    else:
        objects.OBJECT_DRAWINGS[name](pen, rng)
    return pen


def _stands_out(pen: Pen, image: Image.Image) -> bool:
    """Whether the median colour of the layer is far from the median of what it covers."""
    layer = np.asarray(pen.layer)[::6, ::6]
    covered = layer[..., 3] > 0
    inside = np.median(layer[covered][:, :3].astype(float), axis=0)
    behind = np.median(np.asarray(image)[::6, ::6][covered].astype(float), axis=0)
    return float(np.linalg.norm(inside - behind)) > _LEAST_CONTRAST


def contact_sheet(pictures: Sequence[np.ndarray], columns: int, scale: int = 1) -> Image.Image:
    """The pictures (uint8 [64, 64, 3]) in rows of `columns`, each enlarged `scale` times."""
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * SIZE * scale, rows * SIZE * scale), (255, 255, 255))
    for index, picture in enumerate(pictures):
        tile = Image.fromarray(picture).resize((SIZE * scale, SIZE * scale), Image.Resampling.NEAREST)
        sheet.paste(tile, ((index % columns) * SIZE * scale, (index // columns) * SIZE * scale))
    return sheet
