# make demo   install what is missing, build, analyse the incident that ships with the project
# make demo-live   a small job under the recorder, broken in ten ways, and the report on each; as root
# make test   install what is missing, build, run all tests
# make        build only;  make install PREFIX=/usr/local;  make bench;  make fuzz TARGET=pickle TIME=600
# make table  docs/PRECISION.md anew, after a change to the corpus

PREFIX ?= /usr/local
BUILD  ?= build/release
JOBS   ?= $(shell nproc)
TARGET ?= pickle
TIME   ?= 60

.PHONY: all setup setup-test demo demo-live test install bench table fuzz clean

all:
	@cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX) -Wno-dev --log-level=WARNING
	@cmake --build $(BUILD) -j $(JOBS)

setup:
	@tools/setup build

setup-test:
	@tools/setup build test

demo: setup all
	@mkdir -p demo
	@$(BUILD)/tanalyze --html demo/report.html --json demo/report.json --text demo/report.txt corpus/gpu_fell_off_bus/demo-16-ranks/input
	@cat demo/report.txt
	@echo
	@echo "written: demo/report.html demo/report.json demo/report.txt"

demo-live:
	@tools/setup build live
	@$(MAKE) --no-print-directory all
	@python3 tests/live/faults.py $(BUILD)/tdump $(BUILD)/tcaptured $(BUILD)/tanalyze $(BUILD)/live/job; \
	status=$$?; [ $$status = 77 ] || exit $$status

test: setup-test
	@tests/run

install: all
	cmake --install $(BUILD) --prefix $(PREFIX)

bench: setup-test all
	@failed=0; for b in dumps logs bundle capture; do \
		echo "== $$b"; tests/bench/bench_$$b.sh; r=$$?; [ $$r = 0 ] || [ $$r = 77 ] || failed=1; \
	done; exit $$failed

table: all
	@tests/precision.sh $(CURDIR)/$(BUILD)/tanalyze $(CURDIR) --write

fuzz: setup-test
	@fuzz/run $(TARGET) $(TIME)

clean:
	rm -rf build demo
