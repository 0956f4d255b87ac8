# SPDX-License-Identifier: MPL-2.0
# `make` alone says what there is to do.

OUT ?= out
CC := gcc
CHECKED ?= 1
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:

.PHONY: help
help:
	@echo "make run         boot the tiny guests, leave you at the debug console (ctrl-a x ends it)"
	@echo "                 BED=qemu-tcg-svm|bochs-vmx|qemu-kvm|bochs-svm  FIRMWARE=uefi  SCRIPT=file"
	@echo "                 GUEST=file.elf [CMDLINE=\"...\"] [MEM=64M] [CPUS=1]  BED_CPUS=2  BED_MEM=512"
	@echo "make test        all tests; the last line is 'N passed, N failed, N skipped'"
	@echo "                 parts: test-unit, test-model, test-protocol, test-tsan, test-vmio,"
	@echo "                 test-fuzz, test-machine [BED=...]"
	@echo "make fuzz        looks for inputs that break it, FUZZ_TIME=60 seconds a target;"
	@echo "                 fuzz-coverage: what the stored ones reach of vmio/"
	@echo "make ci          the machine tests on every bed; reports in $(OUT)/ci"
	@echo "make bench       the exit paths in instructions; the memory manager in ratios to the"
	@echo "                 physical limit, with INSTR=1 in instructions, too"
	@echo "make lint        style, dependencies between the rooms, both compilers"
	@echo "make format      clang-format over everything"
	@echo "make build, iso  the hypervisor; a bootable ISO for BIOS and UEFI"
	@echo "make clean"

# --- packages ---------------------------------------------------------------------------------

PACKAGES := $(shell sed -e 's/\#.*//' configs/packages.txt)

# A build from scratch checks once; afterwards the stamp says that it was done.
$(OUT)/deps.stamp: configs/packages.txt configs/install.sh
	@mkdir -p $(OUT)
	@sh configs/install.sh $(PACKAGES)
	@touch $@

.PHONY: deps
deps: $(OUT)/deps.stamp

-include guest/tiny/build.mk

# --- the hypervisor ---------------------------------------------------------------------------

KERNEL_SRCS := $(wildcard boot/*.[cS] base/*.c base/x86/*.[cS] mm/*.c ept/*.c vmio/*.c guest/*.c \
	hv/*.c hv/vmx/*.[cS] hv/svm/*.[cS] hv/console/*.c)
KERNEL_OBJS := $(addprefix $(OUT)/kernel/,$(addsuffix .o,$(basename $(KERNEL_SRCS))))
KERNEL_FLAGS := -std=gnu17 -ffreestanding -fno-builtin -fno-pic -fno-pie -mno-red-zone \
	-mgeneral-regs-only -mcmodel=kernel -O2 -g -fno-omit-frame-pointer -fno-stack-protector \
	-momit-leaf-frame-pointer -fno-asynchronous-unwind-tables -fno-strict-aliasing \
	-Wall -Wextra -Werror -I. -Ibase/x86 \
	-DCHECKED=$(CHECKED) -ffile-prefix-map=$(CURDIR)=. -MMD -MP

$(OUT)/kernel/%.o: %.c | $(OUT)/deps.stamp
	@mkdir -p $(@D)
	@$(CC) $(KERNEL_FLAGS) -c $< -o $@

$(OUT)/kernel/%.o: %.S | $(OUT)/deps.stamp
	@mkdir -p $(@D)
	@$(CC) $(KERNEL_FLAGS) -c $< -o $@

# The string functions must not be turned into calls of themselves.
$(OUT)/kernel/base/x86/string.o: KERNEL_FLAGS += -fno-tree-loop-distribute-patterns

$(OUT)/nestling.elf: $(KERNEL_OBJS) boot/nestling.ld
	@$(CC) -nostdlib -static -no-pie -Wl,-T,boot/nestling.ld -Wl,--build-id=none \
		-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
		$(KERNEL_OBJS) -o $@
	@echo "  $@"

.PHONY: build
build: $(OUT)/nestling.elf $(TINY_IMAGES)

-include $(KERNEL_OBJS:.o=.d)

# --- booting it -------------------------------------------------------------------------------

.PHONY: iso
iso: $(OUT)/nestling.iso

$(OUT)/nestling.iso: $(OUT)/nestling.elf $(TINY_IMAGES) configs/grub.cfg configs/mkiso.sh
	@bash configs/mkiso.sh $(OUT)/nestling.elf configs/grub.cfg $@ $(TINY_IMAGES)
	@echo "  $@"

-include tests/unit/unit.mk
-include tests/fuzz/fuzz.mk
-include tests/protocol/protocol.mk
-include tests/beds/beds.mk
-include tests/tests.mk

C_FILES = $(filter-out tests/lint/bad/%,$(shell git ls-files --cached --others --exclude-standard '*.c' '*.h'))

.PHONY: format clean
format: deps
	@clang-format -i $(C_FILES)

clean:
	rm -rf $(OUT)
