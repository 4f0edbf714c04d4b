"""A file for `bench run -c`: every flag of the command, as a key of a YAML file.

suite: microworld-instances
methods: [esd-x, sld-medium]
method_options:
  esd-x: {eta: 0.5}
seeds: [0, 1]
out: runs/mine

What the command line says as well wins. Paths are from the folder that the command is given in, as they
are on the command line.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from erasure_bench.bench.planning.config import RunConfig, names, parse_config, seeds
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.errors import BenchError
from erasure_bench.user_paths import user_path
from erasure_bench.yaml_files import checked, read_marks

FLAG = "-c"
_FLAG = re.compile(r"--[a-z][a-z-]*")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_ABOUT = "bench run -c THIS_FILE does this run; bench run --help says what each key means"


def _expanded(path: Path | None) -> Path | None:
    return None if path is None else user_path(path)


Folder = Annotated[Path | None, AfterValidator(_expanded)]


_OPTIONS_OF = {
    "methods": "method_options",
    "evaluators": "evaluator_options",
    "attacks": "attack_options",
}
_OF_ONE_COMMAND = ("dry_run", "as_json")
"""What is not written into a saved file: the plan is looked at once."""


class RunYaml(RunConfig):
    """All that such a file may hold: what is run, as in run.json's `config`, and where and how.

    A list may be a comma list too, as on the command line. Of `method_options`, `evaluator_options` and
    `attack_options` a mapping belongs to the one it stands under, anything else to all of them.
    """

    model_config = ConfigDict(strict=True, populate_by_name=True)

    suite: str = ""
    data_dir: Folder = None
    out: Folder = None
    store: Folder = None
    remote: str | None = None
    track: tuple[str, ...] = ()
    workers: int | None = Field(default=None, ge=1)
    devices: tuple[str, ...] = ()
    executor: Literal["local", "ray", "slurm"] = "local"
    ray_address: str | None = None
    slurm: dict[str, str] = Field(default_factory=dict)
    offline: bool = False
    dry_run: bool = False
    as_json: bool = Field(default=False, alias="json")

    @field_validator(
        *("methods", "concepts", "evaluators", "references", "transform", "track", "devices", "attacks"),
        mode="before",
    )
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return names(value, "the list")
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,)
        if isinstance(value, str):
            return seeds(value)
        return tuple(value) if isinstance(value, list) else value

    @field_validator("suite_options", "slurm", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return {key: option_text(one) for key, one in value.items()} if isinstance(value, dict) else value

    @field_validator("method_options", "evaluator_options", "attack_options", mode="before")
    @classmethod
    def _by_name(cls, value: object, field: ValidationInfo) -> object:
        if not isinstance(value, dict):
            return value
        commas = field.field_name == "evaluator_options"
        found: dict[str, Any] = {}
        for key, one in value.items():
            if isinstance(one, dict):
                own = {option: option_text(each, commas=commas) for option, each in one.items()}
                found[key] = {**found.get(key, {}), **own}
            else:
                found.setdefault("", {})[key] = option_text(one, commas=commas)
        return found

    @field_validator("edits")
    @classmethod
    def _as_a_shell_has_them(cls, edits: dict[str, Path]) -> dict[str, Path]:
        return {name: user_path(path) for name, path in edits.items()}


def read_run_yaml(path: Path) -> "Asked":
    """What the file asks for; raises BenchError with file, line, key and the valid choices."""
    marked = read_marks(path, FLAG)
    found = checked(RunYaml, marked, str(path))
    written = {field.alias or key: key for key, field in RunYaml.model_fields.items()}
    places = {written[key]: f"{path}:{marked.line((key,))}: {key}" for key in marked.value}
    return Asked({key: getattr(found, key) for key in found.model_fields_set}, places)


class Asked(NamedTuple):
    """What a run is asked to do, by the keys of `RunYaml`; `places` says where in a file a key stands."""

    values: Mapping[str, Any]
    places: Mapping[str, str] = {}

    def joined(self, said: Mapping[str, Any], given: Collection[str]) -> "Asked":
        """With what the command line has: `given` are the keys that it says, the others are its defaults.

        Options are joined one by one. Those of a method or evaluator that the command line left out of the
        file's list are left out with it.
        """
        values = {**said, **self.values, **{key: said[key] for key in given}}
        for listed, key in _OPTIONS_OF.items():
            by_name: dict[str, Mapping[str, str]] = dict(self.values.get(key, {}))
            if listed in given:
                gone = {*self.values.get(listed, ())} - {*said[listed]}
                by_name = {name: options for name, options in by_name.items() if name not in gone}
            for name, options in (said[key] if key in given else {}).items():
                by_name[name] = {**by_name.get(name, {}), **options}
            values[key] = by_name or said.get(key, {})
        for key in ("suite_options", "edits", "slurm"):
            values[key] = {**self.values.get(key, {}), **said.get(key, {})}
        places = {key: place for key, place in self.places.items() if key not in given}
        return Asked(values, places)

    def config(self) -> RunConfig:
        """The checked config; raises BenchError that names the flag."""
        values = {key: value for key, value in self.values.items() if key in RunConfig.model_fields}
        if not values.get("suite"):
            raise BenchError("give --suite (bench list suites), or a file that says it (-c run.yaml)")
        if not (values["methods"] or values["edits"] or values["references"]):
            raise BenchError("give --methods (bench list methods), or a row with --edit or --reference")
        return parse_config(values)

    def told(self, error: BenchError) -> BenchError:
        """The error with the file's line before it, where it is about a flag whose value stands there."""
        for flag in _FLAG.findall(str(error)):
            key = flag.removeprefix("--").replace("-", "_")
            for place in (self.places.get(key), self.places.get(f"{key}s")):
                if place is not None:
                    said = BenchError(f"{place}: {error}")
                    said.exit_code = error.exit_code
                    return said
        return error


def run_yaml(values: Mapping[str, Any]) -> str:
    """The file that asks for the same, as text; what has its default is left out."""
    defaults = RunYaml()
    shown = {
        field.alias or key: _plain(values[key])
        for key, field in RunYaml.model_fields.items()
        if key in values and key not in _OF_ONE_COMMAND and values[key] not in (getattr(defaults, key), None)
    }
    for key in _OPTIONS_OF.values():
        if key in shown:
            everyones = {option: text for option, text in shown[key].pop("", {}).items()}
            shown[key] = {**everyones, **shown[key]}
    return f"# {_ABOUT}\n" + yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100)


def write_run_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Writes it; raises BenchError where another file lies there, or it cannot be written."""
    text = run_yaml(values)
    try:
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise BenchError(f"--save-config {path}: there is another file already; name a new one")
        write_text(path, text)
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"--save-config {path}: {getattr(error, 'strerror', None) or error}") from error


def option_text(value: object, *, commas: bool = False) -> object:
    """An option's value as the command line has it; what is none stays for the model to refuse."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and commas:
        return ",".join(str(option_text(item)) for item in value)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str):
        return value
    read = yaml.safe_load(value) if _NUMBER.fullmatch(value) else value
    return read if option_text(read) == value else value  # a number that reads back as it is needs no quotes
