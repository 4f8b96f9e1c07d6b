# Every target makes the virtual environment it needs. `make PYTHON=/path/to/python3.11 …` chooses the interpreter.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_SCALE := $(VENV)/.ready-scale
READY_KERAS := $(VENV)/.ready-keras
ARM64 := build/arm64
# A file to each process at a time: a model that a fixture trains is shared within its file.
TWO := -n 2 --dist loadfile
# One more where many tests wait for servers; tests/conftest.py says which files are begun first.
THREE := -n 3 --dist loadfile --no-loadscope-reorder
# The tests of a minute: layers, and the parts that train nothing. `make test` runs the rest too.
FAST := -m "not slow and not scale" tests/test_*.py $(addprefix tests/,plan edge problems data simulate tasks cli)
export PYTHON
# The suite starts hundreds of processes: our own code is compiled once, not by each of them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-scale test-keras test-arm64 check bench up down

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	.ci/venv $(VENV)

$(READY_SCALE): pyproject.toml constraints.txt
	.ci/venv $(VENV) test-scale
	touch $@

$(READY_KERAS): pyproject.toml constraints.txt
	.ci/venv $(VENV) test-keras
	touch $@

demo: $(READY) ## from a machine's profile to data that lands and four models (3 to 5 minutes), and leave the server running
	$(BIN)/nightshift demo

test: $(READY) ## every test
	$(BIN)/python -m pytest -q $(THREE)

test-scale: $(READY_SCALE) ## a fleet on several machines: Postgres, an S3 server, Dask (docs/scale.md says what it needs)
	$(BIN)/python -m pytest -q -m scale

test-keras: $(READY_KERAS) ## Keras models in the trainer: needs TensorFlow, 0.6 GB
	$(BIN)/python -m pytest -q -m keras tests/trainer/kinds

test-arm64: $(READY) ## the edge runtime on arm64 under emulation, without a board: needs Debian 12, no root
	.ci/arm64 $(ARM64) $(BIN)/python
	NIGHTSHIFT_ARM64=$(abspath $(ARM64)) $(BIN)/python -m pytest -q -m arm64 tests/arm64

# `make check test` runs the fast tests once, among all the others.
check: $(READY) ## format, lint, types, layers and the fast tests; the pre-commit hook
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose*.yaml
	$(BIN)/mypy
	$(if $(filter test,$(MAKECMDGOALS)),,$(BIN)/python -m pytest -q $(TWO) $(FAST))

bench: $(READY) ## measure what the README quotes; writes build/bench.json
	$(BIN)/python -m tests.benchmarks.run

up: $(READY) ## start the Prefect server, MLflow and the workers, and name their addresses
	$(BIN)/nightshift up

down: $(READY) ## stop what `up` and `demo` started
	$(BIN)/nightshift down
