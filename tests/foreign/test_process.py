"""What someone's code leaves in the process is put back and named; no result rests on who drew before."""

import functools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import erasure_bench.models.sampling
from erasure_bench.errors import BenchError
from erasure_bench.foreign.errors import TriedToExit
from erasure_bench.foreign.files import file_target, imported_files
from erasure_bench.foreign.process import LeftBehind, ProcessState, RandomStates, _owners, left_alone
from erasure_bench.foreign.wanted import METHOD


def patch(owner: Any, name: str) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)  # as a careful patch does: it looks like the original
    def mine(*arguments: Any, **named: Any) -> Any:
        return original(*arguments, **named)

    setattr(owner, name, mine)


HARM: dict[str, Callable[[], object]] = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "autocast on cpu": lambda: torch.autocast("cpu").__enter__(),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "denormal numbers": lambda: torch.set_flush_denormal(True),
    "oneDNN": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "cuDNN's switches": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "attention kernels": lambda: torch.backends.cuda.enable_math_sdp(False),
    "hooks of all modules": lambda: torch.nn.modules.module.register_module_forward_hook(lambda *_: None),
    "torch.nn.functional.conv2d": lambda: patch(torch.nn.functional, "conv2d"),
    "torch.nn.functional.relu": lambda: delattr(torch.nn.functional, "relu"),
    "torch.Tensor.mul": lambda: setattr(torch.Tensor, "mul", None),
    "erasure_bench.models.sampling.sample": lambda: patch(erasure_bench.models.sampling, "sample"),
    "working folder": lambda: os.chdir("/"),
    "sys.stdout": lambda: setattr(sys, "stdout", None),
    "SIGINT": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "numpy's error handling": lambda: np.seterr(all="raise"),
}


@pytest.mark.parametrize("what", HARM)
def test_what_is_left_is_named_and_put_back(what: str) -> None:
    before = ProcessState.now()
    with pytest.raises(LeftBehind, match=f"it left changed: .*{what}"), left_alone("it"):
        HARM[what]()
    assert before.put_back() == []


def test_weights_that_change_after_an_autocast_was_left_open_are_cast_anew() -> None:
    linear = torch.nn.Linear(4, 4, bias=False)
    ones = torch.ones(1, 4)
    with pytest.raises(LeftBehind, match="autocast depth"), left_alone("it"):
        torch.autocast("cpu", torch.bfloat16).__enter__()
    for weight in (1.0, 2.0):
        with torch.no_grad():
            linear.weight.fill_(weight)
        with torch.autocast("cpu", torch.bfloat16):
            assert float(linear(ones)[0, 0].detach()) == 4 * weight


def test_it_is_put_back_after_an_error_too_and_the_error_comes_first() -> None:
    with pytest.raises(ZeroDivisionError), left_alone("it"):
        torch.set_default_dtype(torch.float64)
        1 / 0  # noqa: B018
    assert torch.get_default_dtype() == torch.float32


def test_an_import_for_which_torch_wraps_its_own_functions_is_no_change() -> None:
    code = (
        "import torch\n"
        "from erasure_bench.foreign.process import left_alone\n"
        "before = torch.manual_seed\n"
        "with left_alone('an import'):\n"
        "    import torch._dynamo\n"
        "assert torch.manual_seed is not before, 'else this test proves nothing'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_global_generators_give_the_same_whoever_drew_before_and_go_on_afterwards() -> None:
    with left_alone("it", seed=3):
        first = drawn()
    random.random(), np.random.rand(), torch.rand(5)
    before = RandomStates.now()
    with left_alone("it", seed=3):
        assert drawn() == first
    with left_alone("it", seed=4):
        assert drawn() != first
    assert before.differences(RandomStates.now()) == ""


class Leaving(BaseException):
    """No Exception."""


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), Leaving("now")])
def test_nothing_but_the_user_ends_the_program(error: BaseException) -> None:
    said = f"it tried to end the program .{type(error).__name__}"
    with pytest.raises(TriedToExit, match=said) as held, left_alone("it"):
        raise error
    assert held.value.exit_code == 1
    with pytest.raises(KeyboardInterrupt), left_alone("it"):
        raise KeyboardInterrupt


def test_a_file_that_turns_a_switch_when_it_is_imported_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import torch\ntorch.set_default_dtype(torch.float64)\nclass M:\n    erase = None\n")
    said = r"mine\.py cannot be imported: importing it left changed: torch's default dtype"
    with pytest.raises(BenchError, match=said):
        file_target(f"{path}:M", METHOD)
    assert torch.get_default_dtype() == torch.float32


def test_modules_may_be_imported_by_another_thread_meanwhile() -> None:
    """A tracker's package may be: a run must not end where the table of modules grows while it is read."""
    stop = threading.Event()

    def import_and_forget() -> None:
        while not stop.is_set():
            for number in range(200):
                sys.modules[f"imported_meanwhile_{number}"] = sys
            for number in range(200):
                del sys.modules[f"imported_meanwhile_{number}"]

    other, often = threading.Thread(target=import_and_forget), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    other.start()
    try:
        for _ in range(300):
            assert "erasure_bench.foreign.process" in _owners.__wrapped__(0)
            assert list(imported_files()) is not None
    finally:
        stop.set()
        other.join()
        sys.setswitchinterval(often)
