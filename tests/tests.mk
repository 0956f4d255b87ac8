# SPDX-License-Identifier: MPL-2.0
# The tests. Each part ends in a line `N passed, N failed, N skipped`; `make test` adds them up.

PY := /usr/bin/python3
# Address-space randomization can put a program where ThreadSanitizer keeps its shadow.
NO_ASLR := setarch -R

.PHONY: test test-unit test-model test-protocol test-tsan test-vmio test-machine ci lint bench

test-unit: $(OUT)/unit/run
	@$(OUT)/unit/run

test-model: $(OUT)/model/run
	@$(OUT)/model/run

test-protocol: $(OUT)/protocol/run
	@$(OUT)/protocol/run

test-tsan: $(OUT)/tsan/run
	@$(NO_ASLR) $(OUT)/tsan/run

# Copies to and from a guest whose pages change meanwhile.
test-vmio: $(OUT)/tsan/run
	@VMIO_OPS=$${VMIO_OPS:-10000000} $(NO_ASLR) $(OUT)/tsan/run "guest memory"

test-machine: build
	@$(PY) tests/beds/test.py --kernel $(OUT)/nestling.elf --guests $(OUT)/guest \
		$(if $(filter-out auto,$(BED)),--bed $(BED)) $(if $(CASE),--case $(CASE)) \
		--report $(OUT)/ci

lint: deps
	@bash tests/lint/lint.sh

ci: test-machine

PARTS := lint test-unit test-model test-protocol test-tsan test-vmio test-fuzz test-machine

test: deps
	@bash tests/sum.sh $(OUT) $(PARTS)

# Benchmarks are of the build without contract checks; the checked one is counted for comparison.
# Those of the memory manager are an ordinary program; INSTR=1 counts its instructions as well.
bench: build $(OUT)/bench-mm/run $(if $(INSTR),$(OUT)/bench-instr/run)
	@$(MAKE) --no-print-directory OUT=$(OUT)/unchecked CHECKED=0 build
	@$(PY) tests/bench/bench.py --kernel $(OUT)/unchecked/nestling.elf --checked $(OUT)/nestling.elf \
		--guests $(OUT)/guest --out $(OUT)/bench.json
	@$(PY) tests/bench/mm.py --run $(OUT)/bench-mm/run $(if $(INSTR),--instr $(OUT)/bench-instr/run) \
		--append --out $(OUT)/bench.json
