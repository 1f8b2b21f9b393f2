# Two commands are enough: `make demo` (install, run the main job) and `make test` (install, lint, tests).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
COMMA := ,
SPACE := $(subst ,, )
PIP = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo table study report test test-slow lint format clean

$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) .
	touch $@

$(VENV)/installed-dev: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[dev,tensorboard]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/python -m bmae_lightning +experiment=retromae

# A table of a paper: make table NAME=retromae_6 ARGS="scale=gpu corpus=beir corpus.path=DIR" (experiments/README.md).
table: $(VENV)/installed
	@test -n "$(NAME)" || { echo "make table NAME=...: one of $(basename $(notdir $(wildcard experiments/table/*.yaml)))"; exit 2; }
	$(BIN)/python -m bmae_lightning -cd experiments +table=$(NAME) $(ARGS)

# The study in resumable pieces, on a GPU where there is one: make study ARGS="…" (experiments/study/README.md).
study: $(VENV)/installed
	PYTHON=$(BIN)/python sh experiments/study/run.sh $(ARGS)

# A page over finished runs: make report NAME=mine RUNS="outputs/runs/<time> outputs/multirun/<time> 1a2b3c" (or commas).
report: $(VENV)/installed
	@test -n "$(NAME)" -a -n "$(RUNS)" || { echo 'make report NAME=... RUNS="DIR DIR ..."'; exit 2; }
	$(BIN)/python -m bmae_lightning report 'report.runs=["$(subst $(SPACE),"$(COMMA)",$(strip $(subst $(COMMA),$(SPACE),$(RUNS))))"]' 'report.name="$(NAME)"' $(ARGS)

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3

# Every row of every table of the papers, with a tiny encoder, to its page.
test-slow: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info
