# SPDX-License-Identifier: MPL-2.0
# The tiny guests: each an image of its own, with nothing of Nestling in it but guest/hypercall.h
# and guest/boot_page.h.

TINY := modes memtest hostile touch bench walk string mmu
TINY_IMAGES := $(TINY:%=$(OUT)/guest/%.elf)
TINY_FLAGS := -std=gnu17 -m64 -O2 -ffreestanding -fno-pic -fno-pie -mno-red-zone \
	-mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables \
	-Wall -Wextra -Werror -I. -MMD -MP
TINY_LINK := -nostdlib -static -no-pie -Wl,-T,guest/tiny/tiny.ld -Wl,--build-id=none \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack

tiny_objs = $(OUT)/tiny/start.o $(OUT)/tiny/trap.o $(OUT)/tiny/lib.o \
	$(patsubst guest/tiny/%,$(OUT)/tiny/%.o,$(basename $(wildcard guest/tiny/$(1).c \
	guest/tiny/$(1)_*.c guest/tiny/$(1)_*.S)))

$(OUT)/tiny/%.o: guest/tiny/%.c | $(OUT)/deps.stamp
	@mkdir -p $(@D)
	@$(CC) $(TINY_FLAGS) -c $< -o $@

$(OUT)/tiny/%.o: guest/tiny/%.S | $(OUT)/deps.stamp
	@mkdir -p $(@D)
	@$(CC) $(TINY_FLAGS) -c $< -o $@

define tiny_image
$(OUT)/guest/$(1).elf: $(call tiny_objs,$(1)) guest/tiny/tiny.ld
	@mkdir -p $$(@D)
	@$(CC) $(TINY_LINK) $(TINY_LINK_$(1)) $$(filter %.o,$$^) -o $$@
	$$(TINY_FINISH_$(1))
endef

# This one has a start of its own, and is an ELF32 file: the loader must know both classes.
TINY_LINK_modes := -Wl,-e,modes_start
TINY_FINISH_modes = @objcopy -O elf32-i386 $@

$(foreach t,$(TINY),$(eval $(call tiny_image,$(t))))

.PHONY: tiny
tiny: $(TINY_IMAGES)

-include $(wildcard $(OUT)/tiny/*.d)
