# `make demo` and `make test` are all that a fresh checkout needs; both set it up first.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
NODE_STAMP := tests/chain/node_modules/.package-lock.json
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup node demo test lint bench fuzz corpus clean
.DEFAULT_GOAL := setup

setup: $(STAMP)
	@:

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and \
	    f"Python 3.11 or later is needed, found {v}: make PYTHON=/path/to/python3.11 setup")'
	@echo "Installing into .venv (pinned by hash)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Ready: .venv/bin/verify"

# Tests alone need it: a node and a compiler for the contracts of tests/chain, which skip without.
node: $(NODE_STAMP)
	@:

$(NODE_STAMP): tests/chain/package.json tests/chain/package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed for the tests of tests/chain" >&2; exit 1; }
	@echo "Installing into tests/chain/node_modules (pinned by hash)"
	@cd tests/chain && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup
	@$(BIN)/verify demo

test: setup
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4

lint: setup
	@failed=0; \
	$(BIN)/ruff check --quiet --output-format concise . || failed=1; \
	$(BIN)/ruff format --quiet --check . || failed=1; \
	$(BIN)/mypy --no-error-summary || failed=1; \
	$(BIN)/lint-imports --no-logo || failed=1; \
	exit $$failed

bench: setup
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python -m benchmarks.timeline

fuzz: setup
	@$(BIN)/python benchmarks/fuzz.py

corpus: setup
	@$(BIN)/python benchmarks/corpus.py

clean:
	@rm -rf .venv .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
	@rm -rf tests/chain/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
