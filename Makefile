# make demo: a table of six methods from a fresh clone.  make test: lint and all tests.
# make stress: commands are killed KILLS times at random moments, and must lose nothing.
# make matrix: all tests on each Python that is here, and with the lowest versions; ONLY=3.12,lowest chooses some.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
KILLS ?= 100
ONLY ?=
PYTEST ?=

.PHONY: demo test stress matrix lint install clean

demo: install
	$(BIN)/bench run --config demo --results results/demo

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

stress: install
	$(BIN)/python -m tests.stress $(KILLS)

matrix: install
	$(BIN)/python -m tests.matrix --only "$(ONLY)" $(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .matrix build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
