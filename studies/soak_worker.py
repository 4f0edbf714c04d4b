"""`python -m studies.soak_worker JOB …`: `bench work` that writes down every task it begins and ends."""

import sys

from erasure_bench.bench.cli.app import run_command
from studies.soak_faults import watch_tasks

if __name__ == "__main__":
    watch_tasks("")
    sys.exit(run_command(["work", *sys.argv[1:]]))
