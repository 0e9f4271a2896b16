# make run [DATA=folder]   train, export, compare, classify: from nothing to a report
# make test                every test, in the environments that a user could have
# make test-slow           the few that take minutes
# make publish [DATA=]     train and export the artifacts that the package carries
# make pi                  the wheel on emulated Raspberry Pis: installed, tested, measured
# make pi-page             the commands of docs/raspberry-pi.md on a booted one
# make lint                style and types
# make lock                renew requirements/*.lock after a change in pyproject.toml
# make clean               forget the environments and what was trained

.DELETE_ON_ERROR:
.PRECIOUS: .venv-%/installed
.PHONY: run test test-slow pi pi-page lint lock publish clean FORCE

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$p" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	2>/dev/null && echo "$$p" && break; done)
PIP = -m pip --disable-pip-version-check install --quiet
NEED_PYTHON = @test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 with its venv module here;" \
	"install one (Debian: apt install python3-venv), or name it: make PYTHON=…" >&2; exit 2; }
ENGINES = litert onnx tflite
WITH_DATA = $(if $(DATA), --data "$(DATA)")
# tflite-runtime needs NumPy 1, so an environment of its own; measured where that exists.
WITH_TFLITE = $(if $(wildcard .venv-tflite/installed), --python tflite-runtime=.venv-tflite/bin/python)

run: models/report/report.md
	.venv/bin/python -m runtime --model models/digits-int8.tflite examples/*.jpg examples/*.png
	@echo "The report: models/report/report.md and report.html"

models/report/report.md: models/.exported
	.venv/bin/python -m benchmarks --models models --out $(@D)$(WITH_DATA)$(WITH_TFLITE)

models/.exported: models/digits.keras
	.venv/bin/python -m export --model $<$(WITH_DATA)
	@touch $@

# Interrupted, a training goes on where it stopped; other data start another one.
models/digits.keras: models/.data | .venv/installed
	.venv/bin/python -m train --out $@$(WITH_DATA)$(if $(wildcard models/digits-checkpoint.npz), --resume)

models/.data: FORCE
	@mkdir -p models
	@echo "$(DATA)" | cmp -s - $@ || { rm -f models/digits-checkpoint.npz; echo "$(DATA)" > $@; }

test: .venv/installed $(ENGINES:%=test-%)
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The runtime from its wheel, where nothing is installed but one engine.
test-%: .venv/installed .venv-%/installed FORCE
	@rm -rf build dist/$*
	@.venv/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps \
		--no-build-isolation --wheel-dir dist/$* .
	@.venv-$*/bin/python $(PIP) --no-deps --force-reinstall dist/$*/*.whl
	.venv-$*/bin/pytest tests/engines

test-slow: .venv/installed
	.venv/bin/python -m pytest -m slow

# Not in `make test`: it fetches 700 MB and takes minutes. docs/raspberry-pi.md, deploy/README.md
pi:
	@$(MAKE) --jobs=2 .venv-pi/installed .venv-tflite/installed
	.venv-pi/bin/python -m deploy.emulation

pi-page: .venv-pi/installed
	.venv-pi/bin/python -m deploy.emulation --page

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/installed: .venv/locked pyproject.toml
	@.venv/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/locked: requirements/dev.lock
	$(NEED_PYTHON)
	@echo "Installing the pinned dependencies into .venv (2.7 GB; once)"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python $(PIP) --require-hashes --requirement $<
	@touch $@

.venv-%/installed: requirements/%.lock
	$(NEED_PYTHON)
	@$(PYTHON) -m venv --clear .venv-$*
	@.venv-$*/bin/python $(PIP) --require-hashes --requirement $<
	@touch $@

# Of what is installed it imports little.
.venv-pi/installed: PIP += --no-compile

# What the package carries; interrupted, the training goes on where it stopped.
publish: .venv/installed
	.venv/bin/python -m train --published --resume --out models/published/digits.keras$(WITH_DATA)
	.venv/bin/python -m export --model models/published/digits.keras$(WITH_DATA)
	cp $(addprefix models/published/digits,.keras .tflite -int8.tflite .onnx -int8.onnx) runtime/pretrained/

lock:
	for extra in dev pi $(ENGINES); do \
		uv pip compile pyproject.toml --extra $$extra --extra test --universal \
		--python-version 3.10 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --quiet --upgrade \
		--output-file requirements/$$extra.lock || exit 1; \
	done

clean:
	rm -rf .venv* build dist *.egg-info models
