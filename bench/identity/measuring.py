"""What the code on the search path makes of fixed inputs, in JSON; `earlier` starts it on another commit's.

It is read as a file of its own, and knows of the other commit's package only what every one has.
"""

import json
import sys


def main() -> None:
    """A line of stdin: kind, name, settings by case; of stdout: the code's digest, and by case numbers."""
    import torch

    from erasure_bench.bench.identity.fingerprints import NoLonger, NotHere, fingerprints_of
    from erasure_bench.bench.identity.table import digest_of
    from erasure_bench.environment import go_offline

    go_offline()
    torch.set_num_threads(1)
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        measure = fingerprints_of(asked["kind"]).measure
        found: dict[str, dict[str, object]] = {}
        for case, settings in asked["cases"].items():
            try:
                found[case] = {"numbers": dict(measure(asked["name"], settings))}
            except (NotHere, NoLonger) as error:
                found[case] = {"why": str(error)}
        print(
            json.dumps({"code": digest_of(asked["kind"], asked["name"]), "cases": found}),
            file=out,
            flush=True,
        )


if __name__ == "__main__":
    main()
