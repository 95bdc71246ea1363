# Two commands for a bare machine; each sets up an environment of its own first.
#   make demo    run the main job on pictures that poets draws itself
#   make test    run `make check`, with its coverage, and then the other tests
# For those who work on poets:
#   make check        what to run after each change: format, lint, types, spelling, and every
#                     test that needs neither TensorFlow nor a server nor a browser
#   make lint, types  one part of it alone
#   make sizes        how long files and functions are
#   make faults       what kills, cuts, fills and floods real processes (tests/faults)
#   make fuzz         every reader of foreign bytes under a fuzzer, a minute each (tests/fuzz)
#   make bench        poets beside what others use, into docs/performance.md (12 min);
#                     BENCH_IMAGES=DIR names a folder of LABEL/NAME.jpg, else poets draws some
#   make bench-quick  the same with few images, printed only (3 min)
#   make lock         renews requirements.lock: the newest of every dependency, with hashes (needs uv)

VENV ?= .venv
BENCH_VENV ?= .venv-bench
# The first that runs (a name on the PATH need not) and is new enough.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v $$name && break; done)
BIN := $(VENV)/bin
# Python keeps what it compiles, whatever the environment says (empty means so): the tests start
# hundreds of programs, and each would compile poets again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo check lint types sizes test faults fuzz bench bench-quick lock format clean

demo: $(VENV)/.installed
	$(BIN)/poets demo

SLOW := tensorflow or server or browser
# Of Hypothesis, and in `make test` all of them.
EXAMPLES := --hypothesis-profile quick
# With one thread of BLAS for each process: several on two cores only wait for each other.
check: lint types
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal --ignore=tests/faults $(EXAMPLES) $(COVERAGE) -m "not ($(SLOW))"

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(VENV)/.installed-for-tests
	$(BIN)/mypy

sizes: $(VENV)/.installed-for-tests
	$(BIN)/python -m tests.builders.sizes

test: EXAMPLES :=
# Of what runs in one process with its test: programs would start more slowly, and those that a
# signal ends would end in another way.
test: COVERAGE := --cov --cov-report=term:skip-covered --cov-fail-under=80
# Most of the others wait more than they compute, so four keep two cores busy. A file's tests
# share what they prepare; in their own order, the files that take longest do not come last.
test: check
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --ignore=tests/faults -m "$(SLOW)" --durations=10

# They wait most of the time.
faults: $(VENV)/.installed-for-tests
	$(BIN)/pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder --durations=10 tests/faults

# A find stays behind as a file and ends it.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.installed-for-tests
	$(BIN)/pip install --quiet --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

bench: $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --page docs/performance.md

bench-quick: $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --quick

lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock

format: $(VENV)/.installed-for-tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(BENCH_VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis poets-demo

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing poets into $(VENV) (once; TensorFlow makes it some minutes)"
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-for-tests: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing poets and its tests into $(VENV) (once; TensorFlow makes it some minutes)"
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.installed

# One by one: a competitor that cannot be installed here must not keep the others away.
$(BENCH_VENV)/.installed: pyproject.toml | $(BENCH_VENV)/bin/pip
	@echo "Installing poets and its competitors into $(BENCH_VENV) (once; several GB, some minutes)"
	$(BENCH_VENV)/bin/pip install --quiet --editable .
	@$(BENCH_VENV)/bin/python -m tests.benchmarks.requirements | while read package; do \
		$(BENCH_VENV)/bin/pip install --quiet "$$package" || echo "Without $$package"; done
	@touch $@

$(VENV)/bin/pip $(BENCH_VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "Error: there is no Python 3.11 or newer with venv. Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(@:/bin/pip=)
