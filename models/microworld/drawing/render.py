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
from erasure_bench.models.microworld.drawing.canvas import (
    CANVAS,
    OVERSAMPLING,
    SIZE,
    Pen,
    Pose,
    finish,
    random_pose,
)
from erasure_bench.models.microworld.drawing.colours import RGB
from erasure_bench.models.microworld.drawing.scenes import (
    Scene,
    Thing,
    placed_things,
    shown_background,
    shown_things,
)
from erasure_bench.prompt_suites.microworld import vocabulary as words

_FAMILY_DRAWINGS: dict[str, Callable[[Pen, np.random.Generator, str], None]] = {
    "cat": animals.draw_cat,
    "dog": animals.draw_dog,
    "fish": animals.draw_fish,
    "bird": animals.draw_bird,
    "robot": robots.draw_robot,
}
_GROUP_SCALE = 0.42
_LARGEST = CANVAS // 2 - 5 * OVERSAMPLING
"""Size of each thing in a group, and what it is brought down to where it would touch the other half."""
_MARGIN = OVERSAMPLING + 1
_SLIDE = 0.3
_PLACES = {"left": (-0.5, 0.0), "right": (0.5, 0.0), "top": (0.0, -0.5), "bottom": (0.0, 0.5)}
_CORNERS = ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))
_COUNT_LAYOUTS = {
    2: (
        ((-0.5, 0.0), (0.5, 0.0)),
        ((0.0, -0.5), (0.0, 0.5)),
        ((-0.5, -0.4), (0.5, 0.4)),
        ((-0.5, 0.4), (0.5, -0.4)),
    ),
    3: (((0.0, -0.5), *_CORNERS[2:]), (*_CORNERS[:2], (0.0, 0.5))),
    4: (_CORNERS,),
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
        image = backgrounds.draw_background(shown_background(scene), rng)
        if scene.relation or scene.count > 1:
            _draw_group(image, scene, rng)
        else:
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
    (thing,) = shown_things(scene)
    pen = Pen(random_pose(rng))
    _draw_thing(pen, rng, thing)
    for _ in range(_TRIES_AT_CONTRAST):
        if scene.kind not in ("category", "object") or thing.colour or _stands_out(pen, image):
            break
        pen = Pen(random_pose(rng))
        _draw_thing(pen, rng, thing)
    if raining:
        image = rain.darken_for_rain(image)
        if name == "open umbrella":
            rain.draw_streaks(image, rng, -0.15, 52)
        else:
            rain.draw_streaks(image, rng, 0.4)
    pen.stamp(image)
    return image


def _draw_group(image: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    """The things of a pair, or several of one thing in one colour, each in its own part of the picture."""
    placed = placed_things(scene)
    if placed:
        standing = [(thing, _PLACES[place]) for place, thing in placed.items()]
    else:
        (thing,) = shown_things(scene)
        layouts = _COUNT_LAYOUTS[scene.count]
        standing = [(thing, place) for place in layouts[int(rng.integers(len(layouts)))]]
    group = Pen(Pose())
    looks = int(rng.integers(2**31))
    # Things side by side may both stand higher or lower, things above each other further left or right.
    slide = rng.uniform(-_SLIDE, _SLIDE) if placed else 0.0
    for thing, (x, y) in standing:
        pen = Pen(random_pose(rng, scale=_GROUP_SCALE, turn=5.0, shift=0.0, spread=0.03))
        # Everything that is counted looks the same: three apples, not three kinds of apple.
        _draw_thing(pen, rng if placed else np.random.default_rng(looks), thing)
        _put(group, pen, x or slide, y or slide)
    group.stamp(image)


def _put(group: Pen, pen: Pen, x: float, y: float) -> None:
    """Copies what the pen has drawn into the group, its middle at (x, y) in half-frames, all of it inside."""
    drawn = pen.layer.crop(pen.layer.getbbox())
    if max(drawn.size) > _LARGEST:
        drawn.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BILINEAR)
    left, top = (
        min(max(round(CANVAS / 2.0 * (1.0 + middle) - extent / 2.0), _MARGIN), CANVAS - _MARGIN - extent)
        for middle, extent in zip((x, y), drawn.size, strict=True)
    )
    group.layer.paste(drawn, (left, top))


def _draw_thing(pen: Pen, rng: np.random.Generator, thing: Thing) -> None:
    name = thing.name
    if name in _FAMILY_OF:
        _FAMILY_DRAWINGS[_FAMILY_OF[name]](pen, rng, name)
    elif name in flames.FIRE_SUBJECTS:
        flames.draw_fire_subject(pen, rng, name)
    elif name.endswith("cloud"):
        rain.draw_cloud(pen, rng, name)
    elif name.endswith("umbrella"):
        rain.draw_umbrella(pen, rng, name)
    else:
        objects.draw_object(pen, rng, name, RGB[thing.colour] if thing.colour else None)


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
