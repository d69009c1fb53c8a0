# make serve: the app on 127.0.0.1:5000.   make test: all tests.
# Each makes its own environment with pinned packages; nothing else is needed
# but Python 3.11 or newer and make.

# The first Python that runs and is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
PORT ?= 5000
SERVE := .venv
TEST := .venv-test

NEED_PYTHON = test -n "$(PYTHON)" || { echo \
	"TumorLens needs Python 3.11 or newer. Run: sudo apt install python3" >&2; exit 1; }

.PHONY: serve test check bench docs clean

serve: $(SERVE)/.ready
	$(SERVE)/bin/tumorlens serve --port $(PORT)

test: $(TEST)/.ready
	$(TEST)/bin/python -m pytest -n 2 --dist loadfile

check: $(TEST)/.ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports

bench: $(TEST)/.ready
	$(TEST)/bin/python -m bench

$(SERVE)/.ready: pyproject.toml constraints.txt scripts/make_env.py
	@$(NEED_PYTHON)
	$(PYTHON) scripts/make_env.py $(SERVE)
	$(SERVE)/bin/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(TEST)/.ready: pyproject.toml constraints.txt scripts/make_env.py
	@$(NEED_PYTHON)
	$(PYTHON) scripts/make_env.py $(TEST)
	$(TEST)/bin/python -m pip install --quiet -c constraints.txt -e '.[train,dev]'
	@touch $@

docs: $(TEST)/.ready
	$(TEST)/bin/python scripts/fill_docs.py

clean:
	rm -rf $(SERVE) $(TEST) build dist
