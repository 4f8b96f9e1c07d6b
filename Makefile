# Every target makes the virtual environment it needs. `make PYTHON=/path/to/python3.11 …` chooses the interpreter.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_SCALE := $(VENV)/.ready-scale
# A file to each process at a time: a model that a fixture trains is shared within its file.
TWO := -n 2 --dist loadfile
# One more where many tests wait for servers; tests/conftest.py says which files are begun first.
THREE := -n 3 --dist loadfile --no-loadscope-reorder
