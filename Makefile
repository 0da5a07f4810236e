# Everything that a person types. Needs Python 3.11+ and the package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
# As the command does: idle threads soon sleep (src/regard/cli/main.py, `entry`).
export GOMP_SPINCOUNT ?= 3000

.PHONY: demo test check format lint types docs page test-rest test-all peers bench clean

# One stamp a set-up: a change of the requirements installs anew. torch first, by its pin, so that the CPU build is taken where there is one.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# What the tests of conformance compare with: onnx, transformers and others.
$(VENV)/.conforming: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[conformance]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/regard demo

test: $(VENV)/.conforming
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not learning and not browser and not slow"

check: $(VENV)/.installed lint types test

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.conforming
	$(BIN)/mypy

# The pages that repeat what the code says; tests/test_docs.py fails where they are out of date.
docs: $(VENV)/.installed
	$(BIN)/python docs/write.py

# The script and style of the page of all heads, built of web/ with node; tests/inspection/pictures/test_bundle.py fails where they are out of date.
page:
	cd web && npm ci --no-audit --no-fund && npm run check && npm run build

# What `make test` leaves out: learning, browser and slow tests.
test-rest: $(VENV)/.conforming
	$(BIN)/python -m pytest -m "learning or browser or slow"

test-all: test test-rest

# The programs that we are measured against, in an environment of their own.
.venv-peers/.installed: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --upgrade pip
	.venv-peers/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	touch $@

peers: .venv-peers/.installed

# With what conforms, since the lens and the normalizers are measured beside transformers and entmax in one process.
bench: $(VENV)/.conforming .venv-peers/.installed
	$(BIN)/python benchmarks/run.py --data $(DATA)

clean:
	rm -rf $(VENV) .venv-peers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
