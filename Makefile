# Targets set up their own virtual environment (.venv); nothing has to be installed by hand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest

VALIDATORS ?= 1

.PHONY: setup demo dev test check fix fuzz sim bench gpu clean

setup: $(STAMP)

$(STAMP): pyproject.toml scripts/system_needs.sh
	sh scripts/system_needs.sh
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[worker,test]'
	touch $@

demo: setup            ## run the main job: contribute, fine-tune, infer, attribute, settle
	$(BIN)/python -m examples.demo --validators $(VALIDATORS)

dev: setup             ## leave a development chain running for wallets and explorers
	$(BIN)/openledger dev

test: setup            ## every test that needs no GPU
	$(PYTEST) -m 'not gpu' --numprocesses 4 --dist loadfile --no-loadscope-reorder

check: setup           ## formatting, lint, types, walls
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy runtime consensus node inference genesis examples benches scripts
	$(BIN)/lint-imports

fix: setup             ## what can be mended automatically
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: setup            ## property tests with many more examples
	$(PYTEST) -m 'not gpu and not e2e' --numprocesses 2 --dist loadfile --hypothesis-profile deep
	OPENLEDGER_RPC_FUZZ_ROUNDS=200 $(PYTEST) tests/e2e/test_rpc_fuzz.py

sim: setup             ## 10,000 simulated networks with faults and liars; each failure prints its seed
	$(BIN)/python -m tests.simulation --scenarios 10000 --seed 0 --jobs 2

bench: setup           ## every figure of docs/measurements, with floors and peers
	$(BIN)/python -m benches

gpu: setup             ## GPU tests first, then GPU benchmarks; needs an NVIDIA GPU
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[gpu]'
	$(BIN)/python -c "import torch; assert torch.cuda.is_available(), 'no CUDA device, or a torch without CUDA'"
	$(PYTEST) -m gpu
	sh scripts/sanitize_kernels.sh $(BIN)/python
	$(BIN)/python -m benches gpu --write

clean:
	rm -rf build
