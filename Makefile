# Everything a person does here, in one word each. `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test lint format schemas unit flink e2e chaos soak bench bench-quick bench-check bench-recovery bench-docs lock

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.ready: requirements.lock pyproject.toml
	@echo "setting up $(VENV) (the first time this fetches about 1 GB; later it is instant)"
	@$(PYTHON) -c 'import sys; v=sys.version_info[:2]; sys.exit(0 if v in {(3,11),(3,12)} else "Python 3.11 or 3.12 is needed (apache-flink has wheels for these alone); this is %d.%d. Remedy: install python3.11 and run make PYTHON=python3.11" % v)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync -q --python $(BIN)/python requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.ready  ## install everything into .venv

demo: setup  ## Kafka, Flink, five agents, ten leads; up until Ctrl-C (ONCE=1: stop after the summary)
	@$(BIN)/loopwright demo $(if $(ONCE),--once)

up: setup  ## the same platform, without the leads, until `make down`
	@$(BIN)/loopwright up

down: setup  ## stop it; the data stays
	@$(BIN)/loopwright down

test: lint  ## all tests: lint, types, layers, then unit, Flink and end-to-end tests
	@$(BIN)/python -m pytest tests/unit tests/flink tests/e2e

lint: setup  ## style, types, layers, docstrings
	@$(BIN)/ruff format --check -q . || { echo "Remedy: make format"; exit 1; }
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >.lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(BIN)/interrogate -q loopwright udfs jobs agents bench

format: setup  ## bring the code into its style
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

schemas: setup  ## the next version of each schema that changed, into schemas/ (it is checked against all before it)
	@$(BIN)/python -m tests.schema_files

unit: setup  ## the tests that take milliseconds
	@$(BIN)/python -m pytest tests/unit

flink: setup  ## the tests on a local minicluster
	@$(BIN)/python -m pytest tests/flink

e2e: setup  ## the tests with real Kafka, real Flink, real processes
	@$(BIN)/python -m pytest tests/e2e

chaos: setup  ## kill every part at random under load, and prove what held (SECONDS=600 SEED=n MODE=process)
	@$(BIN)/python -m loopwright.testing.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(MODE),--mode $(MODE))

soak: setup  ## the job for long, with garbage collections, thread dumps and restarts (MINUTES=30)
	@$(BIN)/python -m loopwright.testing.soak $(if $(MINUTES),--minutes $(MINUTES))

bench-check: setup  ## whether Loopwright got slower against the asyncio loop than bench/baseline.json says (exit code 1)
	@$(BIN)/python -m bench.compare --check

bench-recovery: setup  ## seconds without a result when a TaskManager is killed (REPEATS=5)
	@$(BIN)/python -m bench.recovery $(if $(REPEATS),--repeats $(REPEATS))

bench: setup  ## Loopwright beside what else one could take, in one run: five repeats, more than an hour (PEERS=a,b REPEATS=5)
	@$(BIN)/python -m bench.compare $(if $(PEERS),--peers $(PEERS)) $(if $(REPEATS),--repeats $(REPEATS))

bench-quick: setup  ## the same, one short repeat: 10 minutes or less
	@$(BIN)/python -m bench.compare --quick $(if $(PEERS),--peers $(PEERS))

bench-docs: setup  ## the figures and plots of docs/performance.md anew, from what the last measurements left
	@$(BIN)/python -m bench.publish

lock: setup  ## write requirements.lock anew from pyproject.toml, and the image's part of it
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o docker/requirements.lock
