"""`python -m erasure_bench` is `bench`."""

from erasure_bench.bench.cli.app import main

main()
