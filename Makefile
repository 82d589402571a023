# Two commands: `make demo` and `make test`. Both make .venv from requirements.txt when it is missing or older.
PYTHON ?= python3
DEMO ?= demo
python = .venv/bin/python

.PHONY: demo test test-slow test-lowest

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(python) -m pip install --quiet -r requirements.txt
	touch $@

.venv/installed-test: .venv/installed tests/requirements.txt
	$(python) -m pip install --quiet -r tests/requirements.txt
	touch $@

demo: .venv/installed
	$(python) data/run_demo.py $(DEMO)

test: .venv/installed-test
	$(python) -m pytest

test-slow: .venv/installed-test
	$(python) -m pytest -m slow

# The lowest versions that requirements.txt allows, in an environment of their own
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	sed 's/>=/==/' requirements.txt > .venv-lowest/requirements.txt
	sed -i 's|^-e \.|-e $(CURDIR)|' .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet -r .venv-lowest/requirements.txt -r tests/requirements.txt
	.venv-lowest/bin/python -m pytest
