# Every target sets up what it needs, once; afterwards none of them needs a network. All paths are relative, so that
# the folder's own name may contain spaces.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.installed-for-tests

# cpu takes PyTorch's builds without CUDA, a tenth of the size; they come from PyTorch's own index.
TORCH ?=
CPU_BUILDS := https://download.pytorch.org/whl/cpu

# Threads that wait must not spin: see editvec/cli.py.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup demo avatars measures check test test-full soak bench mutants hashes clean

help:
	@echo "make setup      create .venv with pinned dependencies (every other target does this first);"
	@echo "                TORCH=cpu takes PyTorch's builds for CPUs"
	@echo "make demo       a labelled, attribute-controlled image set in ./demo"
	@echo "make test       the everyday tests"
	@echo "make test-full  the slow tests"
	@echo "make soak       twenty minutes of kills: workers, broker, database"
	@echo "make check      format, lint, types, import rules"
	@echo "make bench      is the engine as much faster than the plain method as it was? (some minutes)"
	@echo "make mutants    how many small wrong changes do the tests notice? (SEED=, COUNT=, PACKAGE=, AGAIN=1)"
	@echo "make avatars    rebuild the shipped class and its starter library (takes hours on a CPU)"
	@echo "make measures   measure the starter library and put it into its archive (half an hour)"
	@echo "make hashes     what the image installs, with the digest of every file: deploy/requirements.hashes.txt"
	@echo "make clean      remove caches, packages and ./demo (.venv and the work of make avatars stay)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(if $(filter-out cpu,$(TORCH)),$(error TORCH: expected cpu or nothing, got $(TORCH)))
	@echo "==> Setting up .venv. The first time downloads $(if $(TORCH),PyTorch for CPUs,about 3 GB) and takes some minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools
	$(if $(TORCH),$(BIN)/python -m pip install -c constraints.txt --index-url $(CPU_BUILDS) torch torchvision)
	$(BIN)/python -m pip install --progress-bar on --no-build-isolation -c constraints.txt -e .
	@touch $(STAMP)
	@echo "==> .venv is ready."

$(TESTED): $(STAMP)
	@echo "==> Adding what the tests need."
	$(BIN)/python -m pip install --progress-bar on --no-build-isolation -c constraints.txt -e '.[test]'
	@touch $(TESTED)

demo: $(STAMP)
	@$(BIN)/editvec --home demo/home demo demo

# A fresh home each time, so that every starter vector is version 1 of its name.
avatars: $(STAMP)
	$(BIN)/python -m editvec.avatars.build --work build/avatars
	$(BIN)/python -m editvec.avatars.starter build/avatars/pairs
	rm -rf build/avatars/home
	$(BIN)/editvec --home build/avatars/home model add avatars/bundle
	$(BIN)/editvec --home build/avatars/home learn --from build/avatars/pairs/starter.json
	rm -f build/avatars/starter.editvec.zip
	$(BIN)/editvec --home build/avatars/home registry export build/avatars/starter.editvec.zip \
		$$($(BIN)/python -m editvec.avatars.starter)
	mv build/avatars/starter.editvec.zip avatars/starter.editvec.zip
	$(MAKE) measures
	$(BIN)/python -m editvec.avatars.check

# Success, leakage and usable range of the starter library as it is: no vector is learned.
measures: $(STAMP)
	rm -rf build/avatars/measures
	$(BIN)/editvec --home build/avatars/measures model add avatars/bundle
	$(BIN)/editvec --home build/avatars/measures registry import avatars/starter.editvec.zip
	OMP_NUM_THREADS=1 $(BIN)/editvec --home build/avatars/measures evaluate --all --class avatars \
		--renders 64 --scales=-2:2:9 --device cpu
	$(BIN)/python -m editvec.avatars.publish build/avatars/measures

check: $(TESTED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(TESTED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu"

test-full: $(TESTED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or gpu"

# The same soak as in the slow tests, for twenty minutes: kills of workers, broker and database.
soak: $(TESTED)
	EDITVEC_SOAK_SECONDS=$${EDITVEC_SOAK_SECONDS:-1200} OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest tests/endurance/test_soak.py

# Ratios within one run, compared with stored ones; never seconds.
bench: $(TESTED)
	$(BIN)/python -m benchmarks.engine --guard benchmarks/engine/ratios.json

# For the Python and the system of deploy/Dockerfile; after a change of pyproject.toml or constraints.txt.
hashes:
	test -x build/hashes/bin/uv || ($(PYTHON) -m venv build/hashes && build/hashes/bin/pip install --quiet uv)
	build/hashes/bin/uv pip compile --quiet pyproject.toml --extra postgresql --extra s3 \
		--constraints constraints.txt --generate-hashes --only-binary :all: --no-annotate \
		--python-version 3.11.16 --python-platform x86_64-manylinux_2_28 \
		--custom-compile-command "make hashes" --output-file deploy/requirements.hashes.txt

# A sample of small wrong changes, made in build/mutants/copy one at a time. Interrupted, it is gone on with.
SEED ?= 1
COUNT ?= 40

mutants: $(TESTED)
	OMP_NUM_THREADS=1 nice $(BIN)/python -m benchmarks.mutants --seed $(SEED) --count $(COUNT) \
		$(addprefix --package ,$(PACKAGE)) $(if $(AGAIN),--again)

clean:
	rm -rf demo build/lib build/mutants build/bdist.* dist editvec.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
