"""What someone's code may leave behind in the process, and what is no change."""

import subprocess
import sys


def test_an_import_for_which_torch_wraps_its_own_functions_is_no_change() -> None:
    code = (
        "import torch\n"
        "from erasure_bench.prompt_suites.foreign.process import left_alone\n"
        "before = torch.manual_seed\n"
        "with left_alone('an import'):\n"
        "    import torch._dynamo\n"
        "assert torch.manual_seed is not before, 'else this test proves nothing'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
