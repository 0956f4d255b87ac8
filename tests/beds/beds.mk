# SPDX-License-Identifier: MPL-2.0
# Running Nestling on a bed.

BED ?= auto
FIRMWARE ?= bios
CPUS ?= 2
MEM ?= 512
GUEST_MEM ?= 64M
PY := /usr/bin/python3

# What `make run` boots when you bring nothing of your own: one that passes through the CPU's modes,
# one that tests all of its memory, one that stays and whose memory can be played with.
RUN_DEFAULT = $(OUT)/guest/modes.elf "name=modes mem=16M" \
	$(OUT)/guest/memtest.elf "name=memtest mem=16M" \
	$(OUT)/guest/touch.elf \
	'name=touch mem=16M "cmdline=pages=0x200000w,0x345000,0x400000wx counter=0x600000"'
RUN_OWN = $(GUEST) "mem=$(GUEST_MEM) $(if $(CMDLINE),\"cmdline=$(CMDLINE)\")"

.PHONY: run
run: build
	@$(PY) tests/beds/run.py --kernel $(OUT)/nestling.elf --bed $(BED) --cpus $(CPUS) --mem $(MEM) \
		--firmware $(FIRMWARE) $(if $(SCRIPT),--script $(SCRIPT)) \
		$(if $(GUEST),$(RUN_OWN),$(RUN_DEFAULT))
