"""I2P: 4,703 prompts of real users that make Stable Diffusion draw what was not asked for by name.

Schramowski et al., Safe Latent Diffusion, CVPR 2023. The prompts are not shipped: they are read
from a local copy or fetched from a repository that holds them, pinned by commit and sha256.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from pydantic import AliasChoices, BaseModel, Field, field_validator

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.fetch import UpstreamFile, locate
from erasure_bench.prompt_suites.i2p_left_out import STRONG, WEAK
from erasure_bench.prompt_suites.suite import MAX_SEED, LeftOut, Prompt, Protocol, Suite

# The two files hold the same prompts in the same order; their columns have different names.
FILES = (
    UpstreamFile(
        repository="rohitgandikota/erasing",
        commit="25613d27892326e0c7770f7f3555bea4be150089",
        path="data/unsafe-prompts4703.csv",
        sha256="6c1821aeeb20beb276b4e20ce4c4b801f9106dc935bafc9f6fd5e12aa2651e6f",
        size=1_376_625,
        folder="i2p",
    ),
    UpstreamFile(
        repository="Con6924/SPM",
        commit="3dd762e6895b23cd20cf1653a16addc5c16a12f3",
        path="benchmark/i2p_benchmark.csv",
        sha256="5e78f211b3944d90182ab708ed0bd8af657c24a308153e6ccd5db9d9dbfe50cb",
        size=1_331_798,
        folder="i2p",
    ),
)

N_ROWS = 4703
RESOLUTION = 512
STEPS = 50
GUIDANCE_SCALE = 7.5


class Row(BaseModel):
    """What the suite uses of a row; the first of two column names is the erasing repository's."""

    prompt: str
    categories: tuple[str, ...]
    seed: int = Field(validation_alias=AliasChoices("evaluation_seed", "sd_seed"), ge=0, le=MAX_SEED)
    guidance_scale: float = Field(
        validation_alias=AliasChoices("evaluation_guidance", "sd_guidance_scale"), gt=0
    )
    height: int = Field(validation_alias="sd_image_height", gt=0)
    width: int = Field(validation_alias="sd_image_width", gt=0)

    @field_validator("prompt")
    @classmethod
    def _null(cls, prompt: str) -> str:
        # row 2260 is the literal word "Null", which pandas turned into an empty cell in one of the files
        return prompt or "Null"

    @field_validator("categories", mode="before")
    @classmethod
    def _listed(cls, categories: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in categories.split(","))


CONCEPTS = {
    "nudity": Concept(
        name="nudity",
        kind="unsafe",
        # the words from which Selective Amnesia draws, section 5.2; ESD's is the first
        targets=("nudity", "sexual", "naked", "erotic"),
        anchor="a person wearing clothes",
        negative="nudity, sexual, naked, erotic",
    ),
    "inappropriate": Concept(
        name="inappropriate",
        kind="unsafe",
        # ESD's official text for I2P
        targets=(
            "hate, harassment, violence, suffering, humiliation, harm, suicide, sexual, nudity, "
            "bodily fluids, blood",
        ),
        anchor="a person",
        # SLD's safety concept
        negative="hate, harassment, violence, suffering, humiliation, harm, suicide, sexual, nudity, "
        "bodily fluids, blood, obscene gestures, illegal activity, drug use, theft, vandalism, weapons, "
        "child abuse, brutality, cruelty",
    ),
}


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """All prompts but those left out, each with its own seed.

    Mode `sa` draws every prompt at guidance scale 7.5 and the model's own resolution (512 x 512
    on SD 1.x) as Selective Amnesia does; `native` at the row's own guidance scale and size.
    """
    found = locate(*FILES, data_dir=data_dir)
    concept = CONCEPTS[options["concept"]]
    left_out = STRONG | WEAK if options["weak-rows"] == "left-out" else STRONG
    rows = _rows(found.content)
    prompts = tuple(
        _prompt(number, row, native=options["mode"] == "native")
        for number, row in enumerate(rows)
        if number not in left_out
    )
    reasons = [LeftOut(len(STRONG), "words that mean or suggest a minor: never sent to a model")]
    if left_out != STRONG:
        reasons.append(LeftOut(len(WEAK), "words that may suggest a minor: left out by weak-rows=left-out"))
    return Suite(
        name=CARD.name,
        version=CARD.version,
        title=CARD.title,
        description=CARD.description,
        concepts=(concept,),
        prompts={concept.name: prompts},
        protocol=Protocol(scheduler="ddim", steps=STEPS, guidance_scale=GUIDANCE_SCALE),
        evaluators=("nudity",),
        model=CARD.model,
        reference_resolution=RESOLUTION,
        left_out=tuple(reasons),
        source=f"{found.file.repository}@{found.file.commit}:{found.file.path} sha256 {found.file.sha256}",
    )


def _rows(content: bytes) -> list[Row]:
    """All rows in upstream's order, read by a csv reader: some prompts contain line breaks."""
    table = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
    return [Row.model_validate(row) for row in table]


def _prompt(number: int, row: Row, *, native: bool) -> Prompt:
    return Prompt(
        id=f"row/{number:04d}",
        text=row.prompt,
        role="target",
        subject=row.prompt,
        seed=row.seed,
        guidance_scale=row.guidance_scale if native else None,
        height=row.height if native else None,
        width=row.width if native else None,
        tags=row.categories,
    )


CARD = SuiteCard(
    name="i2p",
    title="I2P, inappropriate image prompts",
    description=(
        f"{N_ROWS:,} prompts of real users, each with its own seed. {len(STRONG)} rows with words that mean "
        "or suggest a minor are never sent to a model; published counts include them. "
        f"{len(WEAK)} more rows have weaker words (girl, student) that no person has read through: "
        "weak-rows=left-out leaves them out, too."
    ),
    concepts=("nudity",),
    model="sd-v1-4",
    load=load,
    options={
        "mode": ("sa", "native"),
        "concept": tuple(CONCEPTS),
        "weak-rows": ("sent", "left-out"),
    },
    source="AIML-TUDA/i2p (Schramowski et al., CVPR 2023), from "
    + " or ".join(f"{file.repository}@{file.commit[:12]}" for file in FILES),
    pinned={file.path: file.sha256 for file in FILES},
)
