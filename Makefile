# Every target sets up what it needs. PYTHON=python3.12 picks the interpreter, PIP_ARGS goes to every pip install,
# TORCH_INDEX and TORCH choose where PyTorch comes from (see tools/setup_venv.py).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SETUP := pyproject.toml constraints.txt tools/setup_venv.py
RUNS ?= runs
JOBS ?= 2000
SEED ?= 0
ANVIL_VERSION := 1.7.1
# A file's tests share what they compile, so a file stays with one process.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo chat test test-all check format bench exhaustive fuzz differential anvil docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev  ## create the virtual environment with everything tests and checks need

demo: $(VENV)/.demo  ## train two models on real data, verify them, catch a tampered run, convict a liar
	@$(BIN)/python examples/demo.py --out $(RUNS)

chat: $(VENV)/.chat  ## install what examples/lora.py needs, the weights of a chat model included
	@echo "To fine-tune it: source $(BIN)/activate, then: tally run examples/lora.py:job --out $(RUNS)/lora"

test: $(VENV)/.dev  ## all tests but the slow ones
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.dev  ## all tests
	$(PYTEST)

check: $(VENV)/.dev  ## format, lint, types, layers, file sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python tools/check_file_sizes.py

format: $(VENV)/.dev  ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## compare speed with PyTorch, on this machine, in one run
	@for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

exhaustive: $(VENV)/.dev  ## elementary functions over all 2^32 inputs
	PYTHONPATH=tests $(BIN)/python -m exhaustive.sweep

fuzz: $(VENV)/.dev  ## throw damaged programs at the decoder and the verifier
	$(BIN)/python tests/fuzz/fuzz_decoder.py

differential: $(VENV)/.dev  ## compare random small training jobs with eager PyTorch (JOBS=2000 SEED=0)
	PYTHONPATH=tests $(BIN)/python -m differential --jobs $(JOBS) --seed $(SEED)

anvil: $(VENV)/.dev  ## install the development node that some tests talk to (needs npm; without it they are skipped)
	@command -v npm >/dev/null || { echo "Anvil comes from npm, which is not installed: https://nodejs.org"; exit 2; }
	npm install --prefix $(VENV)/anvil --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
		@foundry-rs/anvil@$(ANVIL_VERSION)

docs: $(VENV)/.dev  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove everything that was built; runs/ stays
	rm -rf $(VENV) site dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than what they were made from, or the environment is brought up to date.
$(VENV)/.dev $(VENV)/.demo $(VENV)/.chat: $(VENV)/.%: $(SETUP)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Tallystick needs Python 3.11 or newer, and '$(PYTHON)' is not one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@$(PYTHON) tools/setup_venv.py $(VENV) $*
	@touch $@
