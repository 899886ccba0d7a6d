# The commands of the README. What is missing is installed first (Debian 12, as root or with sudo).
BUILD := build
NPROC := $(shell nproc)
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1

.PHONY: all install install-build configure build everything package demo demo-beyond demo-hybrids test clean format

all: build

# What the tests need besides comes with `make test` alone.
install:
	@tools/install.sh

install-build:
	@tools/install.sh build

configure: install-build
	@cmake --preset release > $(BUILD)-configure.log 2>&1 || { cat $(BUILD)-configure.log; exit 1; }
	@rm -f $(BUILD)-configure.log

build: configure
	@cmake --build --preset release --target factflow

# Tests included.
everything: install configure
	@cmake --build --preset release

# A Debian package of the program, build/packages/factflow_VERSION_ARCHITECTURE.deb (docs/install.md).
package: build
	@cd $(BUILD) && cpack --config CPackConfig.cmake > package.log 2>&1 || { cat package.log; exit 1; }
	@rm -rf $(BUILD)/packages/_CPack_Packages $(BUILD)/package.log
	@ls $(BUILD)/packages/*.deb

demo: build
	mpirun --bind-to none --oversubscribe -n 2 $(BUILD)/factflow run configs/demo.yaml
	$(BUILD)/factflow analyse runs/demo
	@$(MAKE) -s demo-hybrids

# The questions beyond the papers (docs/beyond.md) in one run, runs/demo-beyond/report.html; other tasks have prompts, and so a run, of their own.
demo-beyond: build
	mpirun --bind-to none --oversubscribe -n 2 $(BUILD)/factflow run configs/beyond/demo.yaml
	mpirun --bind-to none --oversubscribe -n 2 $(BUILD)/factflow run configs/beyond/demo-tasks.yaml
	$(BUILD)/factflow analyse runs/demo-tasks
	$(BUILD)/factflow analyse runs/demo-beyond

# Who carries the facts (docs/hybrids.md): two hybrids beside their controls, runs/demo-hybrids/report.html.
demo-hybrids: build
	mpirun --bind-to none --oversubscribe -n 2 $(BUILD)/factflow run configs/hybrids/demo.yaml
	$(BUILD)/factflow analyse runs/demo-hybrids

test: everything
	@tools/run_tests.sh $(BUILD)

format:
	@git ls-files '*.cpp' '*.hpp' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	rm -rf $(BUILD)
