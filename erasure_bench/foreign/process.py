"""What someone's code may leave behind in the process: each thing is put back, and named.

Covers what later results could rest on: torch's global switches, numpy's error handling, the functions of
torch and of this project by their names, what signals do, the working folder and the standard streams.
Not covered, since Python cannot hold it: threads that go on, objects that others share and that no
name here leads to, memory written by C code.
"""

import functools
import operator
import os
import random
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from erasure_bench.errors import BenchError
from erasure_bench.foreign.errors import contained

UNKNOWN = object()
"""Of a switch whose value in a fresh process is not always the same."""


class LeftBehind(BenchError):
    """Someone's code went wrong for all that comes after it: it left something as it was not."""

    exit_code = 1


ABSENT = object()
"""In the place of what a name does not lead to."""


class Switch(NamedTuple):
    """A global setting: how it is read, how it is put back, and what it is in a fresh process."""

    read: Callable[[], Any]
    put: Callable[[Any], object]
    fresh: Any = UNKNOWN


@contextmanager
def left_alone(what: str, seed: int = 0) -> Iterator[None]:
    """Runs someone's code, which `what` names, and puts the process back as it was.

    The global random generators are seeded by `seed` meanwhile and go on afterwards where they were, so
    that no result rests on who else drew from them. Raises LeftBehind where anything else had to be put
    back, TriedToExit where the code would have ended the program; its own exceptions come first.
    """
    before, generators = ProcessState.now(), RandomStates.now()
    try:
        seed_all(seed)
        with contained(what):
            yield
    finally:
        generators.put_back()
        changed = before.put_back()
    if changed:
        raise LeftBehind(f"{what} left changed: {', '.join(changed)}")


class ProcessState(NamedTuple):
    """The switches by name, and what each name of a patchable module leads to."""

    switches: Mapping[str, Any]
    names: Mapping[str, Mapping[str, Any]]

    @classmethod
    def now(cls) -> "ProcessState":
        """As it is; of torch and numpy only where they have been imported."""
        return cls({name: _read(switch) for name, switch in _switches().items()}, dict(_patchable()))

    def put_back(self) -> list[str]:
        """Puts back what is not as it was; gives what that was."""
        changed = []
        for name, switch in _switches().items():
            was = self.switches.get(name, switch.fresh)
            if was is UNKNOWN or _read(switch) == was:
                continue
            with suppress(Exception):
                switch.put(was)
            changed.append(name)
        for owner, names in self.names.items():
            if (namespace := _namespace(owner)) is not None and not _same(names, vars(namespace)):
                changed += [f"{owner}.{name}" for name in _put_functions_back(namespace, names)]
        return changed


def _read(switch: Switch) -> Any:
    try:
        return switch.read()
    except Exception as error:  # torch refuses to read a switch that was set in two ways
        return f"{type(error).__name__}: {error}"


def _switches() -> dict[str, Switch]:
    found = {
        "the working folder": Switch(os.getcwd, os.chdir),
        "sys.stdout": Switch(lambda: sys.stdout, lambda it: setattr(sys, "stdout", it)),
        "sys.stderr": Switch(lambda: sys.stderr, lambda it: setattr(sys, "stderr", it)),
    }
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            found[f"what {number.name} does"] = Switch(
                lambda number=number: signal.getsignal(number),  # type: ignore[misc]
                lambda handler, number=number: signal.signal(number, handler),  # type: ignore[misc]
            )
    if (numpy := sys.modules.get("numpy")) is not None:
        found["numpy's error handling"] = Switch(numpy.geterr, lambda how: numpy.seterr(**how))
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "get_default_dtype"):
        found |= _torch_switches(torch)
    return found


def _torch_switches(torch: Any) -> dict[str, Switch]:
    cpu = torch.device("cpu")
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    found = {
        "torch's default dtype": Switch(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        "torch's default device": Switch(
            torch.get_default_device,
            lambda device: torch.set_default_device(None if device == cpu else device),
            cpu,
        ),
        "torch's gradients (on or off)": Switch(torch.is_grad_enabled, torch.set_grad_enabled, True),
        "torch's inference mode": Switch(torch.is_inference_mode_enabled, _put_inference_mode, False),
        "torch's function modes": Switch(
            torch._C._len_torch_function_stack, lambda count: _pop_function_modes(torch, count), 0
        ),
        "torch's deterministic algorithms": Switch(
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda how: torch.use_deterministic_algorithms(how[0], warn_only=how[1]),
        ),
        "torch's float32 matmul precision": Switch(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        ),
        "torch's number of threads": Switch(torch.get_num_threads, torch.set_num_threads),
        "torch's anomaly detection": Switch(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        "denormal numbers (flushed or not)": Switch(
            _flushes_denormals, torch.set_flush_denormal, _flushes_denormals()
        ),
        "oneDNN (on or off)": Switch(
            lambda: torch._C._get_mkldnn_enabled(), lambda on: mkldnn.set_flags(on), UNKNOWN
        ),
        "cuDNN's switches": Switch(
            lambda: (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
            lambda how: _set_all(
                cudnn,
                dict(zip(("enabled", "benchmark", "deterministic", "allow_tf32"), how, strict=True)),
            ),
        ),
        "CUDA's matrix switches": Switch(
            lambda: tuple(getattr(cuda.matmul, name) for name in _MATMUL),
            lambda how: _set_all(cuda.matmul, dict(zip(_MATMUL, how, strict=True))),
        ),
        "torch's attention kernels": Switch(
            lambda: tuple(getattr(cuda, f"{name}_sdp_enabled")() for name in _KERNELS),
            lambda how: [
                getattr(cuda, f"enable_{name}_sdp")(on) for name, on in zip(_KERNELS, how, strict=True)
            ],
        ),
    }
    for device in ("cpu", "cuda"):
        found[f"torch's autocast on {device}"] = Switch(
            lambda device=device: torch.is_autocast_enabled(device),  # type: ignore[misc]
            lambda on, device=device: torch.set_autocast_enabled(device, on),  # type: ignore[misc]
            False,
        )
        found[f"torch's autocast dtype on {device}"] = Switch(
            lambda device=device: torch.get_autocast_dtype(device),  # type: ignore[misc]
            lambda dtype, device=device: torch.set_autocast_dtype(device, dtype),  # type: ignore[misc]
        )
    found["torch's autocast depth"] = Switch(
        lambda: _autocast_depth(torch), lambda depth: _set_autocast_depth(torch, depth), 0
    )
    found["torch's autocast cache"] = Switch(
        torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled, True
    )
    for name, hooks in vars(torch.nn.modules.module).items():
        if name.startswith("_global_") and isinstance(hooks, dict):
            found[f"hooks of all modules ({name.removeprefix('_global_')})"] = Switch(
                lambda hooks=hooks: list(hooks.items()),  # type: ignore[misc]
                lambda items, hooks=hooks: (hooks.clear(), hooks.update(items)),  # type: ignore[misc]
                [],
            )
    return found


def _autocast_depth(torch: Any) -> int:
    """How many `torch.autocast` have been entered and not left."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


def _set_autocast_depth(torch: Any, depth: int) -> None:
    """Left open, an autocast keeps its cast copies of weights for ever, however the weights change after."""
    while (now := _autocast_depth(torch)) != depth:
        (torch.autocast_decrement_nesting if now > depth else torch.autocast_increment_nesting)()
    if depth == 0:
        torch.clear_autocast_cache()


_MATMUL = (
    "allow_tf32",
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
)
_KERNELS = ("flash", "mem_efficient", "math", "cudnn")
_inference_guards: list[Any] = []


def _put_inference_mode(on: bool) -> None:
    from torch import inference_mode

    guard = inference_mode(on)
    guard.__enter__()
    _inference_guards.append(guard)  # it ends with the guard's life


def _pop_function_modes(torch: Any, count: int) -> None:
    from torch.overrides import _pop_mode

    while torch._C._len_torch_function_stack() > count:
        _pop_mode()


def _set_all(owner: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(owner, name, value)


def _flushes_denormals() -> bool:
    smallest_normal = sys.float_info.min
    return smallest_normal / 2 == 0.0


def _patchable() -> Iterator[tuple[str, dict[str, Any]]]:
    """What names lead to in torch's and our own modules: a patched function would serve every later row."""
    for owner in _owners(len(sys.modules)):
        if (namespace := _namespace(owner)) is not None:
            yield owner, dict(vars(namespace))


@functools.lru_cache(maxsize=1)
def _owners(modules: int) -> tuple[str, ...]:
    """Of so many imported modules those that are ours or patchable, and torch's class of tensors."""
    # a list first: another thread (a tracker's) may import meanwhile
    ours = [name for name in list(sys.modules) if name in _PATCHABLE or name.startswith(_OURS)]
    return (*ours, *(["torch.Tensor"] if "torch" in sys.modules else []))


def _same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether all names lead to the same objects; done for each task, so without a loop of Python's."""
    return before.keys() == now.keys() and all(map(operator.is_, before.values(), now.values()))


def _put_functions_back(namespace: Any, before: Mapping[str, Any]) -> Iterator[str]:
    """The names of the functions that had to be put back; of a class also what hides an inherited name."""
    now = dict(vars(namespace))
    for name, function in before.items():
        found = now.get(name, ABSENT)
        if found is function or not isinstance(function, _FUNCTIONS) or _wrapped_by_torch(found, function):
            continue
        setattr(namespace, name, function)
        yield name
    if isinstance(namespace, type):
        inherited = {name for base in namespace.__mro__[1:] for name in vars(base)}
        for name in (now.keys() - before.keys()) & inherited:
            delattr(namespace, name)
            yield name


def _wrapped_by_torch(now: Any, before: Any) -> bool:
    """Whether torch itself has hidden a function of its own from its compiler, as some imports have it do."""
    compiler = sys.modules.get("torch._compile")
    code = getattr(now, "__code__", None)
    return (
        compiler is not None
        and code is not None
        and code.co_filename == compiler.__file__
        and getattr(now, "__wrapped__", None) is before
    )


def _namespace(owner: str) -> Any:
    if owner == "torch.Tensor":
        return getattr(sys.modules.get("torch"), "Tensor", None)
    return sys.modules.get(owner)


_PATCHABLE = frozenset({"torch", "torch.nn.functional"})
_OURS = "erasure_bench."
_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    functools._lru_cache_wrapper,
    type,
)


class RandomStates(NamedTuple):
    """The states of the global random generators."""

    python: Any
    numpy: Any
    torch: Any
    cuda: Any

    @classmethod
    def now(cls) -> "RandomStates":
        """The states now; CUDA's only where a GPU is in use."""
        numpy, torch = sys.modules.get("numpy"), _whole_torch()
        return cls(
            random.getstate(),
            numpy.random.get_state() if numpy else None,
            torch.random.get_rng_state() if torch else None,
            torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else None,
        )

    def differences(self, now: "RandomStates") -> str:
        """Which generators were used or seeded since; empty where none was."""
        cuda = [(was.tolist(), at.tolist()) for was, at in zip(self.cuda or (), now.cuda or (), strict=False)]
        moved = {
            "torch's global generator": self.torch is not None and self.torch.tolist() != now.torch.tolist(),
            "CUDA's global generator": any(was != at for was, at in cuda),
            "numpy's global generator": repr(_listed(self.numpy)) != repr(_listed(now.numpy)),
            "Python's global generator": self.python != now.python,
        }
        return ", ".join(name for name, is_so in moved.items() if is_so)

    def put_back(self) -> None:
        """Sets all of them to these states."""
        random.setstate(self.python)
        if self.numpy is not None:
            sys.modules["numpy"].random.set_state(self.numpy)
        if self.torch is not None:
            sys.modules["torch"].random.set_rng_state(self.torch)
        if self.cuda:
            sys.modules["torch"].cuda.set_rng_state_all(self.cuda)


def seed_all(seed: int) -> None:
    """Seeds every global random generator."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    if torch := _whole_torch():
        torch.manual_seed(seed % 2**63)


def _listed(numpy_state: Any) -> list[Any]:
    return [part.tolist() if hasattr(part, "tolist") else part for part in numpy_state or ()]


def _whole_torch() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and hasattr(torch, "get_default_dtype") else None
