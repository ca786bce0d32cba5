# Each target makes the virtual environment that it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Six at once suit two cores, because many tests wait for a process most of the time. The order is random; the seed is
# printed, and ARGS=--randomly-seed=N repeats it.
PYTEST := $(BIN)/python -m pytest -n 6 --dist worksteal

# Compiled modules are kept: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-all browser images site chaos fuzz bench check format wheel lock clean

demo: $(VENV)/.installed
	$(BIN)/notify demo

# The quick tests: the main path of everything, and of a parametrized test with files, processes or servers the first case.
test: $(VENV)/.installed-dev
	$(PYTEST) -m "not thorough and not browser and not check_only" $(ARGS)

# All tests except those that take long by nature and those in a browser.
test-all: $(VENV)/.installed-dev
	$(PYTEST) -m "not thorough and not browser" $(ARGS)

# Shows every mail and page in a browser (Debian's package chromium; CHROMIUM names another one).
browser: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 -m browser $(ARGS)

# Writes screenshots of mails and pages to docs/images.
images: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser.images

# Builds the documentation site into build/site; a broken link is an error.
site: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs --builder html . build/site

# Kills real workers a thousand times; writes docs/reliability.md. With ARGS=--postgres a thousand faults of several
# workers on PostgreSQL; writes docs/reliability-shared.md.
chaos: $(VENV)/.installed-dev
	$(BIN)/python -m tests.chaos --write $(ARGS)

# Runs the property tests with twenty times as many examples, different ones in each run.
fuzz: $(VENV)/.installed-dev
	FUZZ=20 $(BIN)/python -m pytest -n 2 --timeout=0 tests/property $(ARGS)

# Measures speed and memory, half an hour on an idle machine; writes docs/performance.md.
bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks --write

# Everything: format, lint, types, import contracts, all tests. Branch coverage is that of `make test-all`, because the
# thorough tests run the same code thousands of times.
check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) site
	$(PYTEST) -m "not thorough and not browser" --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --fail-under=95
	$(PYTEST) -m thorough $(ARGS)
	$(BIN)/python -m pytest -n 2 -m browser $(ARGS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel --outdir dist .

# Updates the pinned versions to the newest that pyproject.toml allows.
lock: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --extra dev --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--no-header --annotation-style line --allow-unsafe --output-file constraints.txt pyproject.toml
	sed -i -e '/^syftnotify @/d' -e 's/syftnotify, syftnotify (/syftnotify (/' constraints.txt # it extends itself

clean:
	rm -rf $(VENV) .bench build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; for example: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# Contains what .installed does, so that one installation is enough.
$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@
