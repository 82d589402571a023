# Two commands: `make demo` and `make test`. Both make .venv from requirements.txt when it is missing or older.
PYTHON ?= python3
DEMO ?= demo
python = .venv/bin/python
TWO = -n 2 --dist loadfile    # two files of tests at a time, each with its own fixtures

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
	$(python) -m pytest $(TWO)

test-slow: .venv/installed-test
	$(python) -m pytest -m slow $(TWO)

# The lowest versions that requirements.txt allows, without torch, in Python 3.10 where there is one: what reads tables
lowest_python = $(shell python3.10 -c 'print("python3.10")' 2>/dev/null || echo $(PYTHON))
LOWEST = ids record clinical_file clinical_tables metadata_file expression_tables foreign_labels make_signature \
    prepare_cohort prepare_tcga codefacs deconvolution enrich_genes check_project
test-lowest:
	$(lowest_python) -m venv .venv-lowest
	grep -v '^torch' requirements.txt | sed 's/>=\([0-9.]*\)/==\1.*/' > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet -r .venv-lowest/requirements.txt -r tests/requirements.txt
	.venv-lowest/bin/python -m pytest $(LOWEST:%=tests/test_%.py)
