# SPDX-License-Identifier: MPL-2.0
# Running Nestling on a bed. GUEST, MEM, CPUS and CMDLINE are the guest that you bring; the machine
# around it is BED, FIRMWARE, BED_MEM (MiB), BED_CPUS, and where you want another CPU, MODEL.

BED ?= auto
FIRMWARE ?= bios
BED_CPUS ?= 2
BED_MEM ?= 512
MEM ?= 64M
CPUS ?= 1
PY := /usr/bin/python3

# What `make run` boots when you bring nothing of your own: one that passes through the CPU's modes,
# one that tests all of its memory, one that stays and whose memory can be played with.
RUN_DEFAULT = $(OUT)/guest/modes.elf "name=modes mem=16M" \
	$(OUT)/guest/memtest.elf "name=memtest mem=16M" \
	$(OUT)/guest/touch.elf \
	'name=touch mem=16M "cmdline=pages=0x200000w,0x345000,0x400000wx counter=0x600000"'
# A word for the shell, whatever is in it.
shell_word = '$(subst ','\'',$(1))'
RUN_OWN = --guest $(call shell_word,$(GUEST)) --guest-mem $(call shell_word,$(MEM)) \
	--guest-cpus $(call shell_word,$(CPUS)) $(if $(CMDLINE),--guest-cmdline $(call shell_word,$(CMDLINE)))

.PHONY: run
run: build
	@$(PY) tests/beds/run.py --kernel $(OUT)/nestling.elf --bed $(BED) --cpus $(BED_CPUS) \
		--mem $(BED_MEM) --firmware $(FIRMWARE) $(if $(MODEL),--model $(call shell_word,$(MODEL))) \
		$(if $(ICOUNT),--icount) $(if $(APPEND),--append $(call shell_word,$(APPEND))) \
		$(if $(SCRIPT),--script $(call shell_word,$(SCRIPT))) \
		$(if $(GUEST),$(RUN_OWN),$(RUN_DEFAULT))
