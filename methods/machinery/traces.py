"""What an erasure may leave behind in the model: changed values, hooks, replaced or patched modules."""

import inspect
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from erasure_bench.foreign.rooms import MODULE_PREFIX
from erasure_bench.models.image_model import ImageModel


class TensorSum(NamedTuple):
    """A tensor's dtype, shape, device and checksum: equal ones hold the same bits."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    device: str
    checksum: int


@dataclass(frozen=True, eq=False)
class ModelState:
    """All of a model that someone's code could leave changed, without a copy of its weights.

    `objects` holds what every module and every class of modules is made of (hooks, replaced forwards,
    children, modes, settings, tokenizer, schedule), `sums` the parameters' and buffers' checksums, `probe`
    the picture from fixed latents in one step: it shows what nobody thought of.
    """

    objects: dict[str, "_Contents"]
    sums: dict[str, TensorSum]
    prompt: str | None
    probe: Tensor

    @classmethod
    def of(cls, model: ImageModel, prompt: str | None = None) -> Self:
        """The state now; `prompt` is what the probe asks for, None for the model's own choice."""
        return cls(dict(_objects(model)), _sums(model), prompt, model.probe(prompt))

    def changes(self, model: ImageModel) -> str:
        """What of the model is not as it was; empty where everything is. Exact but for the probe.

        Objects are compared one by one, weights by checksum (two that differ are taken for equal once
        in 2³² times); the probe is drawn only where those are equal, and compared to rounding.
        """
        now = dict(_objects(model))
        if changed := [f"{name}: {what}" for name, what in _differences(self.objects, now)]:
            return some(changed)
        sums = _sums(model)
        if changed := [name for name in self.sums if self.sums[name] != sums.get(name)]:
            return some(changed)
        try:
            probe = model.probe(self.prompt)
        except Exception as error:  # a patched function of a library, say
            return f"it no longer predicts ({type(error).__name__})"
        if not torch.allclose(self.probe, probe, rtol=1e-4, atol=1e-5, equal_nan=True):
            return "other predictions from the same weights"
        return ""

    def put_back(self) -> None:
        """Puts back everything but the tensors' values: hooks, modules, modes, patched classes."""
        for contents in self.objects.values():
            contents.put_back()


class Values(NamedTuple):
    """Copies of a model's parameters and buffers, to put them back."""

    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, model: ImageModel) -> Self:
        """The values now."""
        return cls({name: tensor.detach().clone() for name, tensor in _tensors(model).items()})

    def put_back(self, model: ImageModel) -> None:
        """Into the same tensors; without gradients, as a model is when nobody trains it."""
        with torch.no_grad():
            for name, tensor in _tensors(model).items():
                if name in self.tensors and self.tensors[name].shape == tensor.shape:
                    tensor.copy_(self.tensors[name])
                if isinstance(tensor, nn.Parameter):
                    tensor.requires_grad_(False).grad = None


def patches(model: ImageModel) -> str:
    """Functions of the model's classes that a user's file put there when it was imported, or nothing."""
    modules = [module for part in model.parts.values() for module in part.modules()]
    classes = {kind for module in modules for kind in type(module).__mro__}
    found = [
        f"{kind.__name__}.{name}"
        for kind in classes.union(type(model).__mro__)
        for name, function in _functions(kind).items()
        if str(getattr(function, "__module__", "")).startswith(MODULE_PREFIX)
    ]
    return some(sorted(found))


def some(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


class _Contents(NamedTuple):
    """An object's attributes: those that are set on it, and what each is, so that changes can be told."""

    owner: Any
    attributes: Mapping[str, Any]
    inside: Mapping[str, Any]
    """Copies of the attributes that are dicts or lists, which are changed in place."""
    seen: Mapping[str, Any]

    @classmethod
    def of(cls, owner: Any, attributes: Mapping[str, Any]) -> Self:
        inside = {name: value.copy() for name, value in attributes.items() if type(value) in _CONTAINERS}
        return cls(
            owner, dict(attributes), inside, {name: _seen(value) for name, value in attributes.items()}
        )

    def put_back(self) -> None:
        if inspect.isclass(self.owner):
            for name in _functions(self.owner).keys() - self.attributes.keys():
                delattr(self.owner, name)
            for name, value in self.attributes.items():
                if vars(self.owner).get(name) is not value:
                    setattr(self.owner, name, value)
            return
        now = vars(self.owner)
        for name in now.keys() - self.attributes.keys() - _IGNORED:
            del now[name]
        now.update(self.attributes)
        for name, copy in self.inside.items():
            value = self.attributes[name]
            value.clear()
            (value.update if isinstance(value, dict) else value.extend)(copy)


class _Same:
    """Equal to another of the same object only; keeps that alive, so that none takes its address."""

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


_CONTAINERS = (dict, list, OrderedDict)
_PLAIN = (int, float, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size)
_DEPTH = 4
_IGNORED = frozenset({"_gradient_checkpointing_func", "_version", "_init_weights", "_is_torch_compile"})
"""Set by libraries on their way, without a bearing on what a module computes."""


def _seen(value: Any, depth: int = _DEPTH) -> Any:
    """What a value is, for a later look: plain values by value, containers by content, others by identity."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value)
    if isinstance(value, Mapping) and depth:
        return type(value), tuple((repr(key), _seen(item, depth - 1)) for key, item in value.items())
    if isinstance(value, list | tuple) and depth:
        return type(value), tuple(_seen(item, depth - 1) for item in value)
    return _Same(value)


def _objects(model: ImageModel) -> Iterator[tuple[str, _Contents]]:
    """Everything that makes up the model, by a name that a reader knows it by."""
    yield "the model", _Contents.of(model, vars(model))
    if (tokenizer := getattr(model, "tokenizer", None)) is not None:
        yield "the tokenizer", _Contents.of(_Nothing(), _tokenizer(tokenizer))
    classes = dict.fromkeys(type(model).__mro__)
    for part, whole in model.parts.items():
        yield f"{part}'s config", _Contents.of(_Nothing(), _config(whole))
        for path, module in whole.named_modules():
            name = f"{part}.{path}" if path else part
            yield name, _Contents.of(module, _without_ignored(vars(module)))
            yield f"{name}'s class", _Contents.of(_Nothing(), {"class": type(module)})
            classes |= dict.fromkeys(type(module).__mro__)
        for path, parameter in whole.named_parameters():
            yield f"{part}.{path}", _Contents.of(_Nothing(), _flags(parameter))
    for kind in classes:
        if kind is not object:
            yield f"{kind.__module__}.{kind.__qualname__}", _Contents.of(kind, _functions(kind))


class _Nothing:
    """The owner of attributes that are read and not set."""


def _without_ignored(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in _IGNORED}


def _functions(kind: type) -> dict[str, Any]:
    kinds = (types.FunctionType, staticmethod, classmethod, property)
    return {name: _within(value) for name, value in vars(kind).items() if isinstance(value, kinds)}


def _within(function: Any) -> Any:
    """The function itself, or the one that torch's compiler has put its own around, to mark new modules."""
    compiler = sys.modules.get("torch._dynamo.mutation_guard")
    code = getattr(function, "__code__", None)
    if compiler is None or code is None or code.co_filename != compiler.__file__:
        return function
    return next((cell.cell_contents for cell in function.__closure__ or ()), function)


def _flags(parameter: nn.Parameter) -> dict[str, Any]:
    return {
        "asks for gradients": parameter.requires_grad,
        "has a gradient": parameter.grad is not None,
        "hooks": len(parameter._backward_hooks or ()),
        "hooks after its gradient": len(getattr(parameter, "_post_accumulate_grad_hooks", None) or ()),
    }


def _config(part: Any) -> dict[str, Any]:
    config = getattr(part, "config", None)
    to_dict = getattr(config, "to_dict", None)
    return {"settings": repr(to_dict() if to_dict else config)}


def _tokenizer(tokenizer: Any) -> dict[str, Any]:
    names = (
        "model_max_length",
        "padding_side",
        "truncation_side",
        "pad_token",
        "bos_token",
        "eos_token",
        "unk_token",
    )
    return {"length": len(tokenizer)} | {name: getattr(tokenizer, name, None) for name in names}


def _differences(was: Mapping[str, _Contents], now: Mapping[str, _Contents]) -> Iterator[tuple[str, str]]:
    for name in [*was, *(name for name in now if name not in was)]:
        if name not in now:
            yield name, "is gone"
        elif name not in was:
            yield name, "is new"
        elif was[name].owner is not now[name].owner and type(was[name].owner) is not _Nothing:
            yield name, "is another one"
        else:
            before, after = was[name].seen, now[name].seen
            for attribute in [*before, *(each for each in after if each not in before)]:
                if before.get(attribute, _MISSING) != after.get(attribute, _MISSING):
                    yield name, attribute.strip("_").replace("_", " ")


_MISSING = object()


def _tensors(model: ImageModel) -> dict[str, Tensor]:
    named = {
        f"{part}.{name}": tensor
        for part, module in model.parts.items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    schedule = getattr(model, "alphas_cumprod", None)
    return named if schedule is None else named | {"the noise schedule": schedule}


def _sums(model: ImageModel) -> dict[str, TensorSum]:
    return {
        name: TensorSum(tensor.dtype, tuple(tensor.shape), str(tensor.device), checksum(tensor))
        for name, tensor in _tensors(model).items()
    }


_WORDS = 1 << 18
_FOLD = 6364136223846793005


def checksum(tensor: Tensor) -> int:
    """A number of 64 bits that rests on every bit of the tensor and its place, computed on its device.

    Multilinear hashing (Carter and Wegman 1979) of 32-bit words with random weights of 64 bits, which
    another process draws anew: two contents meet once in 2³² times at most.
    """
    words = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if len(words) % 4:
        words = nn.functional.pad(words, (0, 4 - len(words) % 4))
    weights = _weights(str(tensor.device))
    total = 0
    for part in words.view(torch.int32).split(_WORDS):
        total = (total * _FOLD + int((part * weights[: len(part)]).sum())) % 2**64
    return total


@cache
def _weights(device: str) -> Tensor:
    generator = torch.Generator()
    generator.seed()
    weights = torch.randint(-(2**63), 2**63 - 1, (_WORDS,), generator=generator, dtype=torch.int64)
    return weights.to(device)
