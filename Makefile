# make demo: a table of six methods from a fresh clone.  make test: lint and all tests.
# make fuzz: for MINUTES, the property tests draw other examples than in make test.
# make large: times of a large store, of RUNS runs.
# make stress: commands are killed KILLS times at random moments, and must lose nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
KILLS ?= 100
MINUTES ?= 20
RUNS ?= 1000 10000

.PHONY: demo test fuzz large stress lint install clean

demo: install
	$(BIN)/bench run --config demo --results results/demo

test: lint
	PYTHONHASHSEED=0 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

fuzz: install
	$(BIN)/python -m tests.fuzz $(MINUTES)

large: install
	$(BIN)/python -m tests.large_store $(RUNS)

stress: install
	$(BIN)/python -m tests.stress $(KILLS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
