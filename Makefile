# Everything from a fresh clone: Python 3.11 or later and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# MNIST is fetched once and stays in the clone unless you share a folder of your own.
export HARNESS_DATA ?= $(CURDIR)/.data

.DEFAULT_GOAL := install
.PHONY: install reproduce test chaos docs lint format bench data clean help

help:  ## this text
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(STAMP)  ## the environment with pinned versions, in .venv; the default
	@echo "installed; next: . $(BIN)/activate && harness check experiments"

reproduce: $(STAMP)  ## seed 0 of the first paper's six runs and our controls, ten epochs, judged
	@# Exit code 3 means undecided, as one seed of ten epochs often is; make would call it an error.
	$(BIN)/harness run $(filter-out %/psa.yaml,$(wildcard experiments/*.yaml)) --seeds 0 --epochs 10 \
	  || test $$? -eq 3

test: $(STAMP) lint data  ## lint, types, layers and every test but the slow ones and chaos
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder --durations 25 -m "not slow and not chaos" \
	  --junit-xml results/test.xml

chaos: $(STAMP)  ## faults injected for real, then a suite under random ones; some twenty minutes
	mkdir -p results/chaos
	rm -f results/chaos/ledger.jsonl
	HARNESS_CHAOS_LEDGER=results/chaos/ledger.jsonl $(BIN)/pytest -n 3 --dist worksteal --durations 12 -m chaos
	$(BIN)/python ci/chaos.py --minutes 3 --ledger results/chaos/ledger.jsonl

docs: $(STAMP)  ## the documentation as a site that reads without a network
	$(BIN)/sphinx-build -q -W --keep-going -c ci/site . results/site
	@echo "open results/site/ci/site/index.html"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## put the code into its one form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) data  ## measure: a step, packs, what the harness costs, large grids; some forty minutes
	mkdir -p results/bench
	$(BIN)/pytest tests/bench -o python_files='bench_*.py' --timeout 1800 \
	  --benchmark-columns=median,iqr,rounds --benchmark-json=results/bench/bench.json
	$(BIN)/python -m tests.bench.report results/bench/*.json --out results/report

data: $(STAMP)  ## fetch MNIST once, by digest
	$(BIN)/harness data experiments

clean:  ## forget the environment; results and data stay
	rm -rf $(VENV)

# The stamp is newer than what it was installed from, so a second call installs nothing.
$(STAMP): pyproject.toml ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c ci/constraints.txt -e '.[test]'
	@touch $@
