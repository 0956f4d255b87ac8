# SPDX-License-Identifier: MPL-2.0
# Host builds of the tests: the code of the hypervisor as an ordinary program.

HOST_CC ?= gcc
HOST_SRCS := $(filter-out base/x86/%, $(wildcard base/*.c mm/*.c ept/*.c vmio/*.c guest/*.c)) \
	$(wildcard boot/boot_info.c boot/acpi.c boot/options.c) \
	$(wildcard hv/cpuid.c hv/msr.c hv/firmware.c hv/vmx/controls.c hv/console/edit.c hv/console/json.c hv/console/args.c \
	hv/console/coalesce.c hv/console/sweep.c hv/console/gva_view.c) $(wildcard tests/host/*.c)
# What needs a backend, of which the unit tests have one of their own.
UNIT_SRCS := $(wildcard tests/unit/*.c hv/paging.c hv/string_io.c)
MODEL_SRCS := $(wildcard tests/model/*.c)
HOST_FLAGS := -std=gnu17 -g -O1 -Wall -Wextra -Werror -fno-omit-frame-pointer -I. -Itests/host \
	-DCHECKED=1 -pthread -MMD -MP
SAN := -fsanitize=address,undefined -fno-sanitize-recover=all
TSAN := -fsanitize=thread -DHOST_TSAN=1

host_objs = $(patsubst %.c,$(OUT)/$(1)/%.o,$(2))

UNIT_OBJS := $(call host_objs,unit,$(HOST_SRCS) $(UNIT_SRCS)) $(OUT)/unit/suites.o
TSAN_SRCS := $(HOST_SRCS) $(wildcard tests/tsan/*.c) tests/unit/fake_pt.c
TSAN_OBJS := $(call host_objs,tsan,$(TSAN_SRCS))
MODEL_OBJS := $(call host_objs,model,$(HOST_SRCS) $(MODEL_SRCS) tests/unit/fake_pt.c)

$(OUT)/unit/%.o: %.c | deps
	@mkdir -p $(@D)
	@$(HOST_CC) $(HOST_FLAGS) $(SAN) -c $< -o $@

$(OUT)/model/%.o: %.c | deps
	@mkdir -p $(@D)
	@$(HOST_CC) $(HOST_FLAGS) -O2 $(SAN) -c $< -o $@

$(OUT)/tsan/%.o: %.c | deps
	@mkdir -p $(@D)
	@$(HOST_CC) $(HOST_FLAGS) $(TSAN) -c $< -o $@

# Every tests/unit/test_*.c exports one `void suite_NAME(void)`; the runner calls them all.
$(OUT)/unit/suites.c: $(UNIT_SRCS)
	@mkdir -p $(@D)
	@names=$$(sed -n 's/^void \(suite_[a-z0-9_]*\)(void);$$/\1/p' $(UNIT_SRCS) | sort -u); \
	{ echo '/* Generated from tests/unit/test_*.c. */'; \
	for n in $$names; do echo "void $$n(void);"; done; \
	echo 'void suites_add(void);'; echo 'void suites_add(void)'; echo '{'; \
	for n in $$names; do echo "	$$n();"; done; echo '}'; } > $@

$(OUT)/unit/suites.o: $(OUT)/unit/suites.c
	@$(HOST_CC) -c $< -o $@

$(OUT)/unit/run: $(UNIT_OBJS)
	@$(HOST_CC) $(SAN) -pthread $^ -lcunit -o $@

$(OUT)/model/run: $(MODEL_OBJS)
	@$(HOST_CC) $(SAN) -pthread $^ -o $@

$(OUT)/tsan/run: $(TSAN_OBJS)
	@$(HOST_CC) $(TSAN) -pthread $^ -o $@

-include $(UNIT_OBJS:.o=.d) $(TSAN_OBJS:.o=.d) $(MODEL_OBJS:.o=.d)

# --- benchmarks of the memory manager: no contract checks, no sanitizers ----------------------

BENCH_SRCS := $(HOST_SRCS) $(wildcard tests/bench/mm/*.c)
BENCH_FLAGS := -std=gnu17 -g -O2 -fno-pie -Wall -Wextra -Werror -fno-strict-aliasing -I. -Itests/bench \
	-Itests/host -DCHECKED=0 -pthread -MMD -MP
BENCH_OBJS := $(call host_objs,bench-mm,$(BENCH_SRCS))
INSTR_OBJS := $(call host_objs,bench-instr,$(BENCH_SRCS))

$(OUT)/bench-mm/%.o: %.c | deps
	@mkdir -p $(@D)
	@$(HOST_CC) $(BENCH_FLAGS) -c $< -o $@

# valgrind is needed for counting only.
$(OUT)/valgrind.stamp: | deps
	@sh configs/install.sh valgrind
	@touch $@

$(OUT)/bench-instr/%.o: %.c | $(OUT)/valgrind.stamp
	@mkdir -p $(@D)
	@$(HOST_CC) $(BENCH_FLAGS) -DINSTR -c $< -o $@

$(OUT)/bench-mm/run: $(BENCH_OBJS)
	@$(HOST_CC) -no-pie -pthread $^ -o $@

$(OUT)/bench-instr/run: $(INSTR_OBJS)
	@$(HOST_CC) -no-pie -pthread $^ -o $@

-include $(BENCH_OBJS:.o=.d) $(INSTR_OBJS:.o=.d)
