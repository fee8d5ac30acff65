# `make demo` and `make test` do all the set-up: they need Python 3.11 or newer and nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
RUN := $(VENV)/bin/

.PHONY: help demo test test-as-users browser dist smoke smoke-lowest smoke-newest lint pyright format docs clean \
	examples example-demo example-gpi example-jwst example-rotation example-survey

help:
	@echo "make demo      fit and sample a simulated debris-disk image; figures in examples/output/"
	@echo "make test      run the tests"
	@echo "make test-as-users  some of them compiled as for users, and without any workaround"
	@echo "make browser   the explorers in a real browser, where there is a chromium"
	@echo "make dist      wheel and sdist in dist/, checked"
	@echo "make smoke     what users do first, from the wheel, with the lowest and the newest dependencies"
	@echo "make lint      ruff and pyright"
	@echo "make docs      build the documentation into docs/_build/html"
	@echo "make examples  run the examples at small size"
	@echo "make format    let ruff mend what it can"
	@echo "make clean     remove the environment and everything built"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

# One stamp per extra, renewed whenever pyproject.toml changes.
$(VENV)/.extra-%: pyproject.toml | $(VENV)/bin/python
	$(RUN)python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.extra-plots
	$(RUN)python examples/demo.py

test: $(VENV)/.extra-test
	$(RUN)python -m pytest $(ARGS)

# `make test` compiles with little optimisation, in half of the time. CI also compares with the
# reference values and between solvers as compiled for users, and without any workaround for the compiler.
AS_USERS := tests/grater/test_gradients.py tests/grater/test_render.py tests/spotgp/test_solver_ladder.py
PLAIN := tests/grater/test_render.py tests/spotgp/test_kernel.py tests/spotgp/test_leave_one_out.py
test-as-users: $(VENV)/.extra-test
	XLA_FLAGS= $(RUN)python -m pytest $(AS_USERS) -k "reference or few_cases" $(ARGS)
	XLA_FLAGS= PYTREEFIT_PLAIN_XLA=1 $(RUN)python -m pytest $(PLAIN) -k "reference or leave_one_out" $(ARGS)

# 5 is the exit status of pytest where everything skips. SCREENSHOTS=docs/images makes the docs' pictures anew.
browser: $(VENV)/.extra-browser
	$(RUN)python -m pytest --numprocesses=0 tests/test_browser.py $(ARGS) || [ $$? -eq 5 ]

# The package as users install it, with the lowest versions that pyproject.toml declares and with the
# newest ones, in environments of their own.
LOWEST := .venv-lowest
NEWEST := .venv-newest
PYTHON_LOWEST ?= python3.11
# the first that runs: what pyenv puts on the path may refuse to
PYTHON_NEWEST ?= $(shell for p in python3.13 $(HOME)/.pyenv/versions/3.13*/bin/python3.13 \
	python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
DECLARED := import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	every = [*p["dependencies"], *p["optional-dependencies"]["plots"]]; \
	print("\n".join(every).replace(">=", "=="))
BUILD := .venv-build
WHEEL = "$$(ls dist/*.whl)[plots]"
smoke: smoke-lowest smoke-newest

dist:
	rm -rf dist
	$(PYTHON) -m venv $(BUILD)
	$(BUILD)/bin/python -m pip install --quiet --disable-pip-version-check build twine
	$(BUILD)/bin/python -m build
	$(BUILD)/bin/twine check --strict dist/*

smoke-lowest: dist
	$(PYTHON_LOWEST) -m venv $(LOWEST)
	$(LOWEST)/bin/python -c '$(DECLARED)' > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(LOWEST)/lowest.txt --force-reinstall --no-deps dist/*.whl
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(LOWEST)/lowest.txt $(WHEEL)
	$(LOWEST)/bin/python -P tests/smoke.py

smoke-newest: dist
	$(PYTHON_NEWEST) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--force-reinstall --no-deps dist/*.whl
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--upgrade --upgrade-strategy eager $(WHEEL)
	$(NEWEST)/bin/python -P tests/smoke.py

lint: $(VENV)/.extra-dev pyright
	$(RUN)ruff check .
	$(RUN)ruff format --check .

pyright: $(VENV)/.extra-dev
	$(RUN)pyright --pythonpath $(RUN)python

format: $(VENV)/.extra-dev
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

docs: $(VENV)/.extra-dev
	$(RUN)sphinx-build -W --keep-going -b html docs docs/_build/html

# make --jobs=2 examples runs two of them at a time.
EXAMPLES := demo
ifdef GRATER_DATA
EXAMPLES += jwst gpi rotation survey
endif
EXAMPLE := MPLBACKEND=Agg $(RUN)python examples
LIGHTCURVES := $(GRATER_DATA)/lightcurves
examples: $(EXAMPLES:%=example-%)

example-demo: $(VENV)/.extra-plots
	$(EXAMPLE)/demo.py --small

example-gpi: $(VENV)/.extra-plots
	$(EXAMPLE)/fit_gpi_disk.py $(GRATER_DATA)/disks/hr4796a_H_pol.fits.gz \
		--chains 1 --warmup 40 --draws 40

example-jwst: $(VENV)/.extra-plots
	$(EXAMPLE)/fit_jwst_disk.py $(GRATER_DATA)/jwst_aumic

example-rotation: $(VENV)/.extra-plots
	$(EXAMPLE)/fit_rotation.py $(LIGHTCURVES)/kplr001430163-2010355172524_llc.fits.gz \
		--days 60 --points 150 --starts 2

example-survey: $(VENV)/.extra-plots
	rm -rf examples/output/rotation
	$(RUN)spotgp survey $(LIGHTCURVES)/*.fits.gz $(LIGHTCURVES)/kepler63.npz \
		--days 60 --points 80 --starts 1 --store examples/output/rotation \
		--table examples/output/rotation.ecsv
	$(RUN)spotgp show --store examples/output/rotation --report examples/output/rotation.html

clean:
	rm -rf $(VENV) $(LOWEST) $(NEWEST) $(BUILD) build dist docs/_build docs/tutorials examples/output .pytest_cache .ruff_cache .hypothesis
