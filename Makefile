# The commands of the project; `make` alone lists them. Each sets up what it needs first.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo reviews serve test test-unit test-engine test-e2e mutants lint typecheck fmt lock sbom operators clean

# Also where Python is told to write no bytecode: each of the hundreds of processes that tests start would compile this
# project anew.
PYTEST := PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 .venv/bin/python -m pytest
# Two workers share out the tests as tests/sharing.py says; ARGS="-n 0", and --pdb, run them in this process.
SHARED := -n logical --maxprocesses 2
BASE ?= examples/clinic/base_model
ARGS ?=

help: ## list these commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | expand -t 14

setup: ## make .venv from the lock file of this machine (CPU or CUDA); quick when nothing changed
	@scripts/setup.sh

demo: setup ## the whole loop on the embedded clinic: train, evaluate, gate, promote, ask
	@.venv/bin/dabt demo $(ARGS)

reviews: setup ## the same on a real small model and real review sentences, fetched once; BASE=… takes any .gguf
	@.venv/bin/dabt demo reviews $(if $(filter-out examples/clinic/base_model,$(BASE)),--base $(BASE)) $(ARGS)

serve: setup ## set up and keep the service up; BASE=org/name serves another base model
	@.venv/bin/dabt serve --base $(BASE) $(ARGS)

test: setup ## all tests; ARGS="-k rollback" narrows them, as below
	@$(PYTEST) $(SHARED) $(ARGS)

test-unit: setup ## the tests that need no engine: seconds
	@$(PYTEST) $(SHARED) -m "not engine and not e2e" $(ARGS)

test-engine: setup ## the tests against the real vLLM engine
	@$(PYTEST) -m engine $(ARGS)

test-e2e: setup ## the tests through the command line, processes and a browser
	@$(PYTEST) $(SHARED) -m e2e $(ARGS)

mutants: setup ## how much wrong code the unit tests notice; a sample, ARGS="--all" or ARGS="evals/gate.py" for more
	@PYTHONPATH=. .venv/bin/python -m benchmarks.mutants $(ARGS)

lint: setup ## style of Python and of the Dockerfile
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/hadolint Dockerfile

typecheck: setup ## mypy, strict
	@.venv/bin/mypy

fmt: setup ## put the style right
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: ## resolve both lock files; what is in them keeps its version, unless ARGS=--upgrade (requirements/lock.py)
	@python3.11 requirements/lock.py $(ARGS)

sbom: ## what an image is made of, as CycloneDX JSON; ARGS=cuda for the image with CUDA
	@scripts/sbom.sh $(ARGS)

operators: setup ## objects of operators, held against the definitions in the folder CRDS (tests/deploy/test_operators.py)
	@DABT_CRDS="$(CRDS)" .venv/bin/python -m pytest -q -n 0 tests/deploy/test_operators.py

clean: ## remove .venv and every cache; .dabt, where your versions are, stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build ./*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
