# make run [DATA=folder]   train, export, benchmark, classify in about two minutes
# make run RECIPE=default  the same with the full recipe and the full benchmarks (half an hour)
# make test                every test, in the environments that a user could have
# make test-slow           the few tests that take minutes
# make test-scale          kill bulk runs, Ray clusters and sweeps; ten minutes
# make fuzz [MINUTES=10] [SEED=]
#                          try mutated images, models, specs and requests; print the seed
# make publish [DATA=] [WRITERS=]
#                          train and export the artifacts that the package carries; WRITERS is
#                          QMNIST's qmnist-train-labels-idx2-int.gz
# make pi                  install, test and measure the wheel on emulated Raspberry Pis
# make pi-page             run the commands of docs/raspberry-pi.md on an emulated one
# make mcu                 prove and measure the model as C on emulated microcontrollers
# make wasm                compile the program of the static site to WebAssembly, with clang and lld
# make portability         open the published artifacts in seven engines from PyPI
# make lint                check style and types
# make lock [LOCKS=extra]  renew requirements/*.lock, or one of them, after a change in pyproject.toml
# make clean               remove the environments and everything that was trained

.DELETE_ON_ERROR:
.PRECIOUS: .venv-%/installed
.PHONY: run test test-slow test-scale fuzz pi pi-page mcu wasm portability lint lock publish publish-digits clean FORCE

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$p" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	2>/dev/null && echo "$$p" && break; done)
PIP = -m pip --disable-pip-version-check install
NEED_PYTHON = @test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 with its venv module here;" \
	"install one (Debian: apt install python3-venv), or name it: make PYTHON=…" >&2; exit 2; }
ENGINES = litert onnx tflite
LOCKS = dev pi $(ENGINES) metadata
# Compiled before the tests, whose processes may run with PYTHONDONTWRITEBYTECODE.
PACKAGES = runtime train export benchmarks deploy
# Many tests wait for processes, so one more than the two cores of CI.
WORKERS = 3
WITH_DATA = $(if $(DATA), --data "$(DATA)")
WITH_WRITERS = $(if $(WRITERS), --writers "$(WRITERS)")
# tflite-runtime needs NumPy 1 and an environment of its own; measured if that exists.
WITH_TFLITE = $(if $(wildcard .venv-tflite/installed), --python tflite-runtime=.venv-tflite/bin/python)

# fast: 3 epochs, quick benchmarks. default: the recipe of train/RECIPE.md, full benchmarks.
RECIPE ?= fast
TRAIN_OPTIONS_fast = --fast --epochs 3
TRAIN_OPTIONS_default =
BENCHMARK_OPTIONS_fast = --quick
BENCHMARK_OPTIONS_default =
KNOWN_RECIPE = @test "$(RECIPE)" = fast -o "$(RECIPE)" = default || { \
	echo "error: no recipe $(RECIPE): choose RECIPE=fast or RECIPE=default" >&2; exit 2; }

run: models/report/report.md
	.venv/bin/python -m runtime --model models/digits-int8.tflite examples
	@echo "The report: models/report/report.md and models/report/report.html"

models/report/report.md: models/.exported
	.venv/bin/python -m benchmarks --model models --out $(@D)$(WITH_DATA)$(WITH_TFLITE) $(BENCHMARK_OPTIONS_$(RECIPE))

models/.exported: models/digits.keras
	.venv/bin/python -m export --model $<$(WITH_DATA)
	@touch $@

# An interrupted training is resumed unless DATA or RECIPE changed.
models/digits.keras: models/.settings | .venv/installed
	.venv/bin/python -m train --out $@$(WITH_DATA) $(TRAIN_OPTIONS_$(RECIPE))$(if $(wildcard models/digits-checkpoint.npz), --resume)

models/.settings: FORCE
	$(KNOWN_RECIPE)
	@mkdir -p models
	@echo "$(DATA) $(RECIPE)" | cmp -s - $@ || { \
		rm -f models/digits-checkpoint.npz; echo "$(DATA) $(RECIPE)" > $@; }

test:
	@$(MAKE) --jobs=2 .venv/installed .venv-metadata/installed $(ENGINES:%=.venv-%/installed)
	@$(MAKE) --jobs=2 $(ENGINES:%=test-%)
	@.venv/bin/python -m compileall -q $(PACKAGES)
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The runtime from its wheel, in an environment with one engine and nothing more.
test-%: dist/engines .venv-%/installed
	@.venv-$*/bin/python $(PIP) --quiet --no-deps --force-reinstall dist/engines/*.whl
	.venv-$*/bin/pytest tests/engines

dist/engines: .venv/installed FORCE
	@rm -rf build $@
	@.venv/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps \
		--no-build-isolation --wheel-dir $@ .

test-slow: .venv/installed
	.venv/bin/python -m pytest -m slow

test-scale: .venv/installed
	.venv/bin/python -m pytest -m scale tests/runtime/bulk tests/train/sweep

MINUTES ?= 10
fuzz: .venv/installed
	.venv/bin/python -m tests.fuzz --minutes $(MINUTES)$(if $(SEED), --seed $(SEED))

# Not in `make test`: it downloads 700 MB and takes minutes; see deploy/README.md.
pi:
	@$(MAKE) --jobs=2 .venv-pi/installed .venv-tflite/installed
	.venv-pi/bin/python -m deploy.emulation

pi-page: .venv-pi/installed
	.venv-pi/bin/python -m deploy.emulation --page

# Not in `make test`: it downloads compilers and emulators and takes up to ten minutes.
mcu: .venv/installed
	.venv/bin/python -m deploy.mcu

# export/site/digits.wasm is committed: users of export-web need no compiler.
WASM = export/site/digits.wasm
wasm:
	clang --target=wasm32 -std=gnu99 -Os -msimd128 -mbulk-memory -ffreestanding -ffp-contract=off \
		-Wall -Wextra -Werror -Wno-unused-function -Iruntime/backends/kernels -nostdlib \
		-Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=65536 -o $(WASM) export/c/pieces/browser.c
	chmod 644 $(WASM)

# Not in `make test`: it downloads 500 MB of engines.
portability: .venv/installed
	.venv/bin/python -m benchmarks.portability --out benchmarks/results/portability.md

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/installed: .venv/locked pyproject.toml
	@.venv/bin/python $(PIP) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/locked: requirements/dev.lock
	$(NEED_PYTHON)
	@echo "Installing the pinned dependencies into .venv (4 GB; once, one to three minutes)"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python $(PIP) --require-hashes --requirement $<
	@touch $@

.venv-%/installed: requirements/%.lock
	$(NEED_PYTHON)
	@$(PYTHON) -m venv --clear .venv-$*
	@.venv-$*/bin/python $(PIP) --require-hashes --requirement $<
	@touch $@

# It imports few of the installed modules.
.venv-pi/installed: PIP += --no-compile

# mediapipe's reader of .tflite metadata, without the packages that the reader does not need.
.venv-metadata/installed: PIP += --no-deps

# The artifacts in runtime/pretrained/; an interrupted training is resumed.
# The published digit network is the mean of the weights of three (docs/experiments.md, "The mean of
# tuned networks"): `first` from random weights, `tuned-5` and `tuned-6` from those before them.
PUBLISHED = models/published
TRAIN = .venv/bin/python -m train --published --resume$(WITH_DATA)$(WITH_WRITERS)
TUNE = $(TRAIN) --set corrupted_fraction=1 --set distortion.shift_px=1.75
start = $(foreach name,$(1),--start-from $(PUBLISHED)/$(name).keras)
teach = $(foreach name,$(1),--teacher $(PUBLISHED)/$(name).keras)
publish-digits: .venv/installed
	$(TRAIN) --out $(PUBLISHED)/first.keras
	$(TUNE) --set corruption.share=0.42 --epochs 50 --seed 1 $(call start,first) --out $(PUBLISHED)/tuned-1.keras
	$(TUNE) --set corruption.share=0.42 --epochs 50 --seed 2 --set teacher_share=0.5 $(call start,first) $(call teach,first) --out $(PUBLISHED)/tuned-2.keras
	$(TUNE) --set corruption.share=0.42 --set learning_rate=1.5e-3 --epochs 40 --seed 3 $(call start,first tuned-1 tuned-2) $(call teach,first tuned-1 tuned-2) --out $(PUBLISHED)/tuned-3.keras
	$(TUNE) --set corruption.share=0.42 --epochs 40 --seed 4 $(call start,first) $(call teach,first tuned-1 tuned-2) --out $(PUBLISHED)/tuned-4.keras
	$(TUNE) --set corruption.share=0.42 --set learning_rate=1.5e-3 --epochs 36 --seed 5 $(call start,first tuned-3 tuned-4) $(call teach,first tuned-3 tuned-4) --out $(PUBLISHED)/tuned-5.keras
	$(TUNE) --set corruption.share=0.38 --set learning_rate=1.5e-3 --epochs 30 --seed 8 $(call start,tuned-5 tuned-5 first) $(call teach,first tuned-3 tuned-5) --out $(PUBLISHED)/tuned-6.keras
	.venv/bin/python -m train --published --epochs 0$(WITH_DATA)$(WITH_WRITERS) $(call start,tuned-5 tuned-5 tuned-6 tuned-6 first) --out $(PUBLISHED)/digits.keras

publish: publish-digits
	.venv/bin/python -m export --model models/published/digits.keras$(WITH_DATA)
	.venv/bin/python -m train.lines --resume --out models/published/lines.keras$(WITH_DATA)$(WITH_WRITERS)
	.venv/bin/python -m export --model models/published/lines.keras$(WITH_DATA)
	.venv/bin/python -m export.c --model models/published/digits-int8.tflite --out models/published
	cp $(addprefix models/published/digits,.keras .tflite -int8.tflite .onnx -int8.onnx) runtime/pretrained/
	cp models/published/digits.c runtime/pretrained/digits-int8.c
	cp $(addprefix models/published/lines,.keras -int8.tflite -int8.onnx) runtime/pretrained/

lock: .venv/installed
	for extra in $(LOCKS); do \
		case $$extra in \
			metadata) source="--group metadata --no-deps" ;; \
			*) source="pyproject.toml --extra $$extra --extra test" ;; \
		esac; \
		.venv/bin/uv pip compile $$source --universal \
		--python-version 3.10 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --quiet --upgrade \
		--output-file requirements/$$extra.lock || exit 1; \
	done

clean:
	rm -rf .venv* build dist *.egg-info models
