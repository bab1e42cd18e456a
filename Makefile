# make demo: a table of methods from a fresh clone.  make test: lint and the tests, side by side.
# make lint, make suite: one of them alone.  make thorough: the tests that take long.
# make fuzz: for MINUTES, the property tests draw other examples than in make test.
# make large: times of a large store, of RUNS runs, and what Ray's driver takes for a trial.
# make stress: commands are killed KILLS times at random moments, or given a time to end in, and must lose nothing.
# make offline: OUT=offline gets wheels for a machine without a network: TARGET=cp312 that has WITHOUT=torch,numpy.
# make offline-check: they are tried on a Python that has torch and numpy alone.
# make matrix: all tests on each Python that is here, and with the lowest versions; ONLY=3.12,lowest chooses some.
# make tables: the tables of the README and of results/, from the committed runs and their suites.
# make docs: the documentation as pages that need no network.
# make site: the leaderboards of results and submissions, which a workflow publishes.
# make submissions: the submissions that differ from BASE are checked; their code is run.
# make release-check: what would be published, built twice and tried out where nothing else is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
KILLS ?= 100
MINUTES ?= 20
ONLY ?=
OUT := offline
TARGET := cp312
WITHOUT := ray,torch,torchvision,numpy,scipy,scikit-learn,matplotlib
PYTEST ?=
RUNS ?= 1000 10000
BASE ?= origin/main
PARALLEL := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# a module is compiled once, not by each of the hundreds of processes that tests start
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test suite tables thorough fuzz large stress matrix offline offline-check docs site submissions release-check lint install clean

demo: install
	$(BIN)/bench run --config demo --results results/demo
	@$(BIN)/bench report --results results/demo --out results/demo/report.html
	@echo "to look at it: $(BIN)/python -m webbrowser -t 'file://$(CURDIR)/results/demo/report.html'"

# mypy has a processor that a test waits with; what one finds does not keep the other from ending
test: install
	@$(MAKE) --no-print-directory --jobs=2 --keep-going lint suite

suite: install
	PYTHONHASHSEED=0 $(PARALLEL) -m "not thorough"
	@echo "not among them: those that take long (make thorough)"

tables: install
	$(BIN)/python -m tools.tables

# a folder that was removed is no submission
submissions: install
	@status=0; for folder in $$(git diff --name-only "$(BASE)..." -- submissions | cut -d/ -f1,2 | sort -u); do \
		if [ -d "$$folder" ]; then echo "$$folder"; $(BIN)/bench submit --check "$$folder" || status=1; fi; \
	done; exit $$status

thorough: install
	PYTHONHASHSEED=0 $(PARALLEL) -m thorough

fuzz: install
	$(BIN)/python -m tools.fuzz $(MINUTES)

large: install
	$(BIN)/python -m tools.large_store $(RUNS)
	$(BIN)/python -m tools.many_trials

stress: install
	$(BIN)/python -m tools.stress $(KILLS)

matrix: install
	$(BIN)/python -m tools.matrix --only "$(ONLY)" $(PYTEST)

offline: install
	$(BIN)/python -m tools.offline --target "$(TARGET)" --without "$(WITHOUT)" --out "$(OUT)"

offline-check: install
	$(BIN)/python -m tools.offline_check

docs: install
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "to look at it: $(BIN)/python -m webbrowser -t 'file://$(CURDIR)/build/docs/index.html'"

site: install
	$(BIN)/bench site --results results --out build/site

release-check: install
	$(BIN)/python -m tools.release

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m tools.language

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .matrix .offline build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
