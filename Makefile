# Needs Python 3.11, 3.12 or 3.13 and a registry of Python packages; `make` lists the targets.
# Each environment is built from its lock, and again only when the lock has changed.

DEMO_SECS ?= 20
SIZE_LIMIT_MB = 400
UV = uv>=0.13.9

# Tests that run at the same time.
JOBS ?= 2
PYTEST = -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder

TRAINING_PYTHONS = 3.11 3.12 3.13
DEVICE_PYTHONS = $(TRAINING_PYTHONS) 3.14

# $(1) versions: the first Python on this machine that is one of these, `python3` before others, pyenv's after those on
# the PATH.
find_python = $(shell for python in python3 $(foreach version,$(1),python$(version) \
	$(wildcard $(PYENV_ROOT)/versions/$(version).*/bin/python$(version))); do \
	$$python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(1)".split())' 2>/dev/null && \
	echo $$python && break; done)
PYTHON ?= $(or $(call find_python,$(TRAINING_PYTHONS)),python3)
# tflite-runtime has no wheel for another version.
PYTHON_OF_TFLITE_RUNTIME := $(call find_python,3.11)
# A Python that trains, and is another version than that of .venv.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
SECOND_PYTHON := $(call find_python,$(filter-out $(VERSION),$(TRAINING_PYTHONS)))

ENVIRONMENTS = .venv .venv-second .venv-device .venv-tflite-runtime .venv-docs
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check

# All tests of the product, the longest first; the phone app and the laboratory have targets of their own.
PRODUCT_TESTS = tests/test_end_to_end.py tests/train/fit tests --ignore=tests/edge/phone --ignore=tests/benchmarks/lab
# No TensorFlow, no training.
FAST_TESTS = $(addprefix tests/,edge benchmarks train/data train/evaluation) --ignore=tests/edge/phone \
	--ignore=tests/benchmarks/lab -m 'not slow'
# What depends on the runtime, NumPy and OpenCV.
DEVICE_TESTS = $(addprefix tests/edge/,model cli sources/test_latest.py test_preprocess.py test_quality.py test_states.py test_files.py \
	test_faults.py) tests/benchmarks/test_memory.py
# What depends on the processor, as far as emulation, which is slow, allows.
ARM64_TESTS = $(addprefix tests/edge/,model/test_shipped.py model/test_decision.py test_preprocess.py) -m 'not hypothesis'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-fast test-full test-second-python test-device test-tflite-runtime test-phone test-lab \
	test-arm64 lint docs size lock clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' Makefile

demo: .venv-device/installed  ## classify generated scenes live: no camera, no data, no TensorFlow; saves demo.png
	.venv-device/bin/dermedge run --source demo --max-secs $(DEMO_SECS) --save demo.png

test: test-full test-second-python test-device test-tflite-runtime  ## run all tests but those of phone, laboratory and arm64

test-fast: .venv/installed  ## run the unit tests that need no TensorFlow: two minutes
	.venv/bin/python $(PYTEST) $(FAST_TESTS)

test-full: .venv/installed .venv-mediapipe/locked  ## run all tests of the product with TensorFlow
	.venv/bin/python $(PYTEST) $(PRODUCT_TESTS)

ifneq ($(SECOND_PYTHON),)
test-second-python: .venv-second/installed  ## train, fine-tune, convert and predict on a second version of Python
	.venv-second/bin/python -m pytest tests/test_end_to_end.py -k generated
else
test-second-python:
	@echo 'no second Python of $(TRAINING_PYTHONS): the end-to-end test runs on $(VERSION) alone'
endif

test-device: .venv-device/tools  ## run what depends on the runtime with LiteRT, without TensorFlow
	PYTHONPATH="$(CURDIR)/.venv-device/tools" .venv-device/bin/python $(PYTEST) $(DEVICE_TESTS)

ifneq ($(PYTHON_OF_TFLITE_RUNTIME),)
test-tflite-runtime: .venv-tflite-runtime/tools  ## run the same with tflite-runtime and NumPy 1
	PYTHONPATH="$(CURDIR)/.venv-tflite-runtime/tools" .venv-tflite-runtime/bin/python $(PYTEST) $(DEVICE_TESTS)
else
test-tflite-runtime:
	@echo 'no Python 3.11: tflite-runtime has no wheel for another version, and its tests are left out'
endif

test-phone: .venv/installed tests/edge/phone/node_modules/.package-lock.json  ## test the phone app in Node, Chromium, Firefox and WebKit
	.venv/bin/python $(PYTEST) tests/edge/phone

test-lab: .venv/installed  ## test the experiments of benchmarks/lab
	.venv/bin/python $(PYTEST) tests/benchmarks/lab

test-arm64: .venv-arm64/installed  ## test the device part on an emulated Raspberry Pi 4 and 5, where Debian's qemu is available
	@for cpu in cortex-a72 cortex-a76; do \
		if [ -x .venv-arm64/python ]; then echo "emulating $$cpu"; \
		QEMU_CPU=$$cpu .venv-arm64/python -m pytest -q -p no:cacheprovider -p no:xdist $(ARM64_TESTS) || exit 1; fi; done

lint: .venv/installed  ## check style, types, and which folder imports which
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: .venv-docs/installed  ## build the documentation as a site in build/docs; warnings are errors
	.venv-docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs
	@echo 'documentation: build/docs/index.html'

size: .venv-device/installed  ## print the size of the device part on disk; fails above the limit
	@.venv-device/bin/python -V
	@size=$$(du -sm --exclude=.venv-device/tools .venv-device | cut -f1); \
	echo "device part with its environment: $$size MB (limit $(SIZE_LIMIT_MB))"; test $$size -lt $(SIZE_LIMIT_MB)

lock: .venv-lock/installed  ## resolve pyproject.toml into locks/; LOCK_OPTIONS=--upgrade takes newer versions
	$(call lock,pyproject.toml,device)
	$(call lock,pyproject.toml --extra tflite-runtime,device-tflite-runtime,ai-edge-litert)
	$(call lock,pyproject.toml --extra dev,dev)
	$(call lock,pyproject.toml --extra test,test,numpy opencv-python-headless ai-edge-litert shtab)
	$(call lock,pyproject.toml --group docs,docs)
	$(call lock,--group mediapipe,mediapipe)
	$(call lock,--group ncnn,ncnn)
	$(call lock,--group onnxruntime,onnxruntime)
	$(call lock,--group openvino,openvino)
	$(call lock,--group pnnx,pnnx,torch)
	$(call lock,--group tensorflow,tensorflow)
	$(call lock,--group tf2onnx,tf2onnx)

clean:  ## remove the environments and what tools left
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# $(1) what to resolve, $(2) lock, $(3) packages that it leaves out with all that they need: one version of each
# package for all Pythons and processors, with hashes.
define lock
printf '%s\n' $(3) | .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	$(1) --excludes /dev/stdin $(LOCK_OPTIONS) --output-file locks/$(2).txt
endef

# $(1) a Python, $(2) the versions that will do: a new environment in the folder of the target, from the lock that it
# depends on.
define environment
@$(1) -c 'import sys; v = "%d.%d" % sys.version_info[:2]; v in "$(2)".split() or sys.exit( \
	"$(@D) needs Python $(2); $(1) is %s. Name another: make $(MAKECMDGOALS) PYTHON=python3.11" % v)'
@echo "$(@D): installing $< with $(1); the first time takes a minute or two"
@rm -rf $(@D)
@$(1) -m venv $(@D)
@$(@D)/bin/python $(PIP_INSTALL) --require-hashes -r $<
@touch $@
endef

.venv/locked: locks/dev.txt
	$(call environment,$(PYTHON),$(TRAINING_PYTHONS))

.venv-second/locked: locks/dev.txt
	$(call environment,$(SECOND_PYTHON),$(TRAINING_PYTHONS))

.venv-device/locked: locks/device.txt
	$(call environment,$(PYTHON),$(DEVICE_PYTHONS))

.venv-tflite-runtime/locked: locks/device-tflite-runtime.txt
	$(call environment,$(PYTHON_OF_TFLITE_RUNTIME),3.11)

.venv-docs/locked: locks/docs.txt
	$(call environment,$(PYTHON),$(TRAINING_PYTHONS))

.venv-mediapipe/locked: locks/mediapipe.txt
	$(call environment,$(PYTHON),$(TRAINING_PYTHONS))

.venv-lock/installed: Makefile
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python $(PIP_INSTALL) '$(UV)'
	@touch $@

$(ENVIRONMENTS:=/installed): %/installed: %/locked pyproject.toml
	@$(@D)/bin/python $(PIP_INSTALL) --no-deps -e .
	@touch $@

# Debian's Node.js, browsers and Java compiler, where they are missing and this is root; without them the tests skip.
BROWSERS = chromium firefox-esr webkit2gtk-driver
tests/edge/phone/node_modules/.package-lock.json: tests/edge/phone/package-lock.json
	@if test "$$(id -u)" = 0 && ! { command -v npm && command -v chromium && command -v firefox-esr && \
			command -v WebKitWebDriver && command -v xvfb-run && command -v certutil && command -v javac; } >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			$$(command -v npm >/dev/null || echo nodejs npm) $(BROWSERS) xvfb xauth libnss3-tools fonts-dejavu-core \
			$$(command -v javac >/dev/null || echo default-jdk-headless) \
			</dev/null >/dev/null || echo 'no browsers or Java compiler: their tests skip'; fi
	@cd $(@D)/.. && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null
	@touch $@

# Status 77: there is no emulation here, and its line says why; asked again the next time.
.venv-arm64/installed: locks/device.txt locks/test.txt tests/arm64/install.sh | .venv-device/installed
	@tests/arm64/install.sh $(@D) .venv-device/bin/python -m pip && touch $@ || test $$? = 77

# pytest beside a device environment, not in it: the tests meet what a device has, and `make size` weighs that.
$(ENVIRONMENTS:=/tools): %/tools: %/installed locks/test.txt
	@$(@D)/bin/python $(PIP_INSTALL) --upgrade --target $@ --no-deps --require-hashes -r locks/test.txt
	@touch $@
