# Development commands: `make setup`, `demo`, `test`, `soak`, `lint`, `bench`, `fuzz`, `docs`, and more below.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
# Tests and demo start many processes, each twice as fast from bytecode: it is kept even where the environment says not to.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
STAMP := .venv/.stamp
CODE := $(wildcard src tests tools docs bench fuzz)
.PHONY: setup demo test gates test-system soak lint bench bench-large fuzz docs coverage mutation oldest lock

setup: $(STAMP)

# uv (itself from the lock) fills .venv in seconds; pip is the second road: it knows a machine's own mirrors.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("meterseal needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	@echo "setting up .venv (all extras and the development tools)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --require-hashes -r <(awk '/^[^ ]/ {keep = /^uv==/} keep' constraints.txt)
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r constraints.txt \
		|| { echo "uv could not; trying pip"; $(BIN)/python -m pip install -qq --require-hashes -r constraints.txt; }
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)
	@$(BIN)/meterseal demo

# Branches of codec, framing, apdu, security and association are to be taken by the quick tests of these packages:
# they are counted (tests/conftest.py), the others run at full speed.
COUNTED := --cov --cov-report=term
test: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not soak" -q $(COUNTED)

# Release gates: the vectors of the British companion specification (marker `gate`, docs/evidence.md).
gates: $(STAMP)
	$(BIN)/python -m pytest tests/apdu tests/crypto tests/probe tests/security -n 0 -m gate -q

# With real servers: SoftHSM and PostgreSQL, installed and started here (Debian, root).
test-system: $(STAMP)
	@tools/system.sh

# What takes long: a thousand kills, older releases, long runs, and many new examples for each property.
soak: $(STAMP)
	$(BIN)/python -m pytest -n auto -m soak -q
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n auto -m "not soak" -q \
	    tests/codec tests/framing tests/cosem tests/apdu tests/crypto tests/keys tests/security tests/association

lint: $(STAMP)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/check.py
	$(BIN)/python docs/gen.py --check
	$(BIN)/python tools/audit.py

bench: $(STAMP)
	$(BIN)/python -m bench; measured=$$?; $(BIN)/python docs/gen.py; exit $$measured

# The store of keys with a million meters; takes long.
bench-large: $(STAMP)
	METERSEAL_BENCH_METERS=1000000 $(BIN)/python -m bench key_lookup

# Mutated inputs to every decoder, then each target for a time, guided by coverage where atheris has wheels.
COUNT ?= 1000000
SECONDS ?= 60
fuzz: $(STAMP)
	$(BIN)/python -m fuzz --count $(COUNT) --seconds 0
	$(BIN)/python -m fuzz --atheris all --seconds $(SECONDS)

docs: $(STAMP)
	$(BIN)/python docs/gen.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# The counted tests alone.
coverage: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not soak and not slow" -q $(COUNTED) \
		$(addprefix tests/,apdu association codec framing security vectors)

# Do the tests notice when security and association do something else?  90 % of the mutants, or it fails.
mutation: $(STAMP)
	$(BIN)/python -m tools.mutation

# The crypto and security tests on the oldest `cryptography` of the range; the lock has the newest.
oldest: $(STAMP)
	@$(BIN)/python tools/oldest.py

# The newest versions within the ranges of pyproject.toml; neither hosts nor URLs go into the file.
lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -q -o .venv/lock.txt
	{ echo '# Lock: every package of the development environment, version and hashes. Written by `make lock`.'; \
		cat .venv/lock.txt; } > constraints.txt
