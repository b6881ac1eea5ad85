# Every target does its own set-up. PYTHON picks the interpreter: `make test PYTHON=python3.13`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench wasm clean

# One BLAS thread: the products of this small network gain nothing from a second one, and on a busy
# machine they would wait for it.
demo: $(VENV)/examples.stamp
	@OPENBLAS_NUM_THREADS=1 $(BIN)/tensorgl run tensorgl/examples/digits_cnn.py

test: $(VENV)/dev.stamp
	@.ci/setup system libegl1 libgl1-mesa-dri glslang-tools chromium firefox-esr xvfb
	TENSORGL_TEST_BACKENDS=numpy,opengl,webgl $(BIN)/python -m pytest -q -n auto --dist worksteal

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench run

# A static site for any web server; its parts come over the network once, into the user's cache.
wasm: $(VENV)/browser.stamp
	$(BIN)/python -m tensorgl.wasm build build/site

clean:
	rm -rf $(VENV) build dist *.egg-info demo-output

# One stamp for each set of extras; a changed setup.cfg installs again.
$(VENV)/%.stamp: setup.cfg pyproject.toml
	@.ci/setup venv "$(PYTHON)" "$(VENV)" "$*"
	@touch $@
