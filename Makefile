# Everything a newcomer types: `make demo`, `make test`. Each target makes the virtual environment it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test quick chaos fuzz bench check format lint types contracts wheel lock clean

demo: $(VENV)/.installed
	$(BIN)/notify demo

# Many tests wait for a real worker most of the time: four at once suit two cores. Tests marked `fire` (kills, damage,
# floods) run code that the others have covered, ten thousand times over: their coverage is not measured.
# The order is random; the seed is printed, and ARGS=--randomly-seed=N repeats it.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 4 -m "not fire" --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --fail-under=90
	$(BIN)/python -m pytest -n 4 -m fire $(ARGS)

# The first half of `make test`, without coverage: what .ci/run repeats with other Pythons, users and time zones. What it
# leaves out takes as long again and tests the program's logic, which these do not change.
quick: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 4 -m "not fire" $(ARGS)

# Kills real workers a thousand times, and writes docs/reliability.md.
chaos: $(VENV)/.installed-dev
	$(BIN)/python -m tests.chaos --write $(ARGS)

# Draws twenty times as many examples as `make test` does, and other ones each time.
fuzz: $(VENV)/.installed-dev
	FUZZ=20 $(BIN)/python -m pytest -n 2 --timeout=0 tests/property $(ARGS)

# Measures how fast everything is (some twenty minutes, on a machine that is idle), and writes docs/performance.md.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks --write

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel --outdir dist .

# Writes the pins anew from what pyproject.toml asks for.
lock: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --extra dev --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--no-header --annotation-style line --allow-unsafe --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) .bench dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; for example: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
