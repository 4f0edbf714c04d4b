# `make demo` and `make test` need nothing but Python >= 3.11 and make: they set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-ready
DEVELOP := $(VENV)/.develop-ready
TEST_OPTIONS ?=
DEMO_METHODS ?= negative-prompt,sld-medium,sld-max,esd-x,esd-u,ca-model,loss-max,sa,uce,speed,spm,receler

.PHONY: help demo test test-slow lint types docs clean

help:
	@echo "make demo       erase a concept from the built-in model in several ways and print the leaderboard"
	@echo "make test       run the tests"
	@echo "make test-slow  erase with every method as shipped, and see that the concept goes; whatever else takes long"
	@echo "make lint       ruff: style and format"
	@echo "make types      mypy"
	@echo "make docs       build the documentation into site/ (read it: python -m http.server -d site)"
	@echo "make clean      remove .venv and caches (results and the store stay)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "erasure-bench needs Python 3.11 or newer; this is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.12 demo" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing erasure-bench into $(VENV) (torch is large: 3 to 10 minutes, once)" >&2
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(DEVELOP): $(RUNTIME)
	@echo "Installing the development tools into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(RUNTIME)
	@$(BIN)/bench run --suite microworld-instances --concepts grumpy-cat \
		--methods $(DEMO_METHODS) --limit 6 --out runs/demo

test: $(DEVELOP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not slow" -n auto --dist worksteal $(TEST_OPTIONS)

test-slow: $(DEVELOP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not gpu" -n auto --dist worksteal $(TEST_OPTIONS)

test-gpu: $(DEVELOP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m gpu $(TEST_OPTIONS)

lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEVELOP)
	$(BIN)/mypy

docs: $(DEVELOP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
