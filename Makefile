# `make demo` and `make test` are all that a fresh checkout needs; both set it up first.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test lint bench corpus clean
.DEFAULT_GOAL := setup

setup: $(STAMP)
	@:

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and \
	    f"Python 3.11 or later is needed, found {v}: make PYTHON=/path/to/python3.11 setup")'
	@echo "Installing into .venv (pinned by hash)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Ready: .venv/bin/verify"

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

corpus: setup
	@$(BIN)/python benchmarks/corpus.py

clean:
	@rm -rf .venv .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
