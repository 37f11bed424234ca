# Needs Python 3.11 and a registry of Python packages; `make` tells what there is.
# Each environment is built from its lock, and again only when the lock has changed.

PYTHON ?= $(or $(shell for name in python3.11 python3 python3.13 python3.12; do \
	$$name -c '' 2>/dev/null && echo $$name && break; done),python3)
DEMO_SECS ?= 20
SIZE_LIMIT_MB = 400
UV = uv>=0.13.9,<0.14

ENVIRONMENTS = .venv .venv-device .venv-tflite-runtime
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
# The phone app is built where Node.js is, and holds its levels against LiteRT's alone.
DEVICE_TESTS = tests/edge tests/benchmarks --ignore=tests/edge/phone
# Emulation is slow: what depends on the processor, without drawn scenes, heat maps and a hundred cases a law.
ARM64_TESTS = $(addprefix tests/edge/test_,shipped.py preprocess.py decision.py states.py sources.py predict_cli.py) \
	tests/edge/test_golden.py::test_the_pictures_are_the_same_on_every_machine \
	-m 'not hypothesis' -k 'not demo and not explain and not photo'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-full test-device test-tflite-runtime test-phone test-arm64 lint size lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' Makefile

demo: .venv-device/installed  ## classify generated pictures live: no camera, no data, no TensorFlow; saves demo.png
	.venv-device/bin/dermedge run --source demo --max-secs $(DEMO_SECS) --save demo.png

test: test-full test-device test-tflite-runtime  ## all tests, then those of the device part in its two environments

test-full: .venv/installed .venv-mediapipe/locked  ## all tests, with TensorFlow, and MediaPipe beside it
	.venv/bin/python -m pytest tests

test-device: .venv-device/tools  ## the device part with LiteRT, without TensorFlow
	PYTHONPATH="$(CURDIR)/.venv-device/tools" .venv-device/bin/python -m pytest $(DEVICE_TESTS)

test-tflite-runtime: .venv-tflite-runtime/tools  ## the device part with tflite-runtime and NumPy 1
	PYTHONPATH="$(CURDIR)/.venv-tflite-runtime/tools" .venv-tflite-runtime/bin/python -m pytest $(DEVICE_TESTS)

test-phone: .venv/installed tests/edge/phone/node_modules/.package-lock.json  ## the phone app in Node, Chromium, Firefox and WebKit
	.venv/bin/python -m pytest tests/edge/phone

test-arm64: .venv-arm64/installed  ## the device part on an emulated Raspberry Pi 4 and 5, where Debian's qemu can be had
	@for cpu in cortex-a72 cortex-a76; do \
		if [ -x .venv-arm64/python ]; then echo "emulating $$cpu"; \
		QEMU_CPU=$$cpu .venv-arm64/python -m pytest -q -p no:cacheprovider $(ARM64_TESTS) || exit 1; fi; done

lint: .venv/installed  ## style, types, and which folder may import which
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

size: .venv-device/installed  ## what the device part takes on disk; fails above the limit
	@.venv-device/bin/python -V
	@size=$$(du -sm --exclude=.venv-device/tools .venv-device | cut -f1); \
	echo "device part with its environment: $$size MB (limit $(SIZE_LIMIT_MB))"; test $$size -lt $(SIZE_LIMIT_MB)

lock: .venv-lock/installed  ## resolve pyproject.toml into locks/; LOCK_OPTIONS=--upgrade takes newer versions
	$(call lock,pyproject.toml --extra edge,device)
	$(call lock,pyproject.toml --extra edge-tflite-runtime,device-tflite-runtime)
	$(call lock,pyproject.toml --extra dev,dev)
	$(call lock,pyproject.toml --extra test $(addprefix --no-emit-package ,numpy opencv-python-headless),test)
	$(call lock,--group mediapipe,mediapipe)
	$(call lock,--group onnxruntime,onnxruntime)
	$(call lock,--group tensorflow,tensorflow)
	$(call lock,--group tf2onnx,tf2onnx)
	$(call lock,--group ultralytics,ultralytics)

clean:  ## remove the environments and what tools left
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# $(1) what to resolve, $(2) lock: one version of each package for all Pythons and processors, with hashes.
define lock
.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	$(1) $(LOCK_OPTIONS) --output-file locks/$(2).txt
endef

# $(1) the Pythons that will do: a new environment in the folder of the target, from the lock that it depends on.
define environment
@$(PYTHON) -c 'import sys; v = "%d.%d" % sys.version_info[:2]; v in "$(1)".split() or sys.exit( \
	"$(@D) needs Python $(1); $(PYTHON) is %s. Name another: make $(MAKECMDGOALS) PYTHON=python3.11" % v)'
@echo "$(@D): installing $< with $(PYTHON); the first time takes a minute or two"
@rm -rf $(@D)
@$(PYTHON) -m venv $(@D)
@$(@D)/bin/python $(PIP_INSTALL) --require-hashes -r $<
@touch $@
endef

.venv/locked: locks/dev.txt
	$(call environment,3.11)

.venv-device/locked: locks/device.txt
	$(call environment,3.11 3.12 3.13)

.venv-tflite-runtime/locked: locks/device-tflite-runtime.txt
	$(call environment,3.11)

.venv-mediapipe/locked: locks/mediapipe.txt
	$(call environment,3.11)

.venv-lock/installed: Makefile
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python $(PIP_INSTALL) '$(UV)'
	@touch $@

$(ENVIRONMENTS:=/installed): %/installed: %/locked pyproject.toml
	@$(@D)/bin/python $(PIP_INSTALL) --no-deps -e .
	@touch $@

# Debian's Node.js and browsers, where they are missing and this is root; without them the tests skip.
BROWSERS = chromium firefox-esr webkit2gtk-driver
tests/edge/phone/node_modules/.package-lock.json: tests/edge/phone/package-lock.json
	@if test "$$(id -u)" = 0 && ! { command -v npm && command -v chromium && command -v firefox-esr && \
			command -v WebKitWebDriver && command -v xvfb-run && command -v certutil; } >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			$$(command -v npm >/dev/null || echo nodejs npm) $(BROWSERS) xvfb xauth libnss3-tools fonts-dejavu-core \
			</dev/null >/dev/null || echo 'no browsers: their tests skip'; fi
	@cd $(@D)/.. && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null
	@touch $@

# Status 77: there is no emulation here, and its line says why; asked again the next time.
.venv-arm64/installed: locks/device.txt locks/test.txt tests/arm64/install.sh | .venv-device/installed
	@tests/arm64/install.sh $(@D) .venv-device/bin/python -m pip && touch $@ || test $$? = 77

# pytest beside a device environment, not in it: the tests meet what a device has, and `make size` weighs that.
$(ENVIRONMENTS:=/tools): %/tools: %/installed locks/test.txt
	@$(@D)/bin/python $(PIP_INSTALL) --upgrade --target $@ --no-deps --require-hashes -r locks/test.txt
	@touch $@
