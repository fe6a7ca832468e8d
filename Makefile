# Development commands of meterseal: `make setup`, `demo`, `test`, `lint`, `bench`, `fuzz`, `docs`, `coverage`, `lock`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
SRC := src tests bench fuzz docs

.PHONY: setup demo test lint bench fuzz docs coverage lock

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "meterseal needs Python 3.11 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --require-hashes --requirement constraints.txt
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	touch $@

lock:
	test -x $(BIN)/uv || $(MAKE) $(STAMP)
	$(BIN)/python tools/lock.py
