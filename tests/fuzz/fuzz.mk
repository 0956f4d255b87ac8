# SPDX-License-Identifier: MPL-2.0
# Fuzzing. `make fuzz` looks for new inputs, FUZZ_TIME seconds a target, and keeps what it finds under
# $(OUT)/fuzz; `make test-fuzz` runs the stored ones, compiled as the unit tests are.
# `make fuzz-corpus` stores a small set of inputs that reaches what all those found so far reach, in
# the place of those that it stored before; inputs with names were written by hand and stay.

FUZZ_TIME ?= 60
FUZZ_TARGETS ?= gva vmio virtual
# What targets share: every file that is neither a target nor a way to run one.
FUZZ_PARTS := $(filter-out tests/fuzz/fuzz_%.c tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c))
FUZZ_ALL := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS := -fsanitize=fuzzer-no-link $(SAN)
# What an input may take: bytes, seconds.
FUZZ_LIMITS := -max_len=1024 -timeout=10

FUZZ_OBJS := $(call host_objs,fuzz,$(HOST_SRCS) $(FUZZ_PARTS))
FUZZ_MAINS := $(call host_objs,fuzz,$(FUZZ_ALL:%=tests/fuzz/fuzz_%.c))
REPLAY_OBJS := $(call host_objs,unit,$(HOST_SRCS) $(FUZZ_PARTS) tests/fuzz/replay.c)

$(OUT)/fuzz/%.o: %.c | deps
	@mkdir -p $(@D)
	@clang $(HOST_FLAGS) $(FUZZ_FLAGS) -c $< -o $@

$(FUZZ_ALL:%=$(OUT)/fuzz/run-%): $(OUT)/fuzz/run-%: $(OUT)/fuzz/tests/fuzz/fuzz_%.o $(FUZZ_OBJS)
	@clang -fsanitize=fuzzer $(SAN) -pthread $^ -o $@

$(FUZZ_ALL:%=$(OUT)/replay/%): $(OUT)/replay/%: $(OUT)/unit/tests/fuzz/fuzz_%.o $(REPLAY_OBJS)
	@mkdir -p $(@D)
	@$(HOST_CC) $(SAN) -pthread $^ -o $@

.PHONY: fuzz fuzz-corpus test-fuzz

fuzz: $(FUZZ_TARGETS:%=$(OUT)/fuzz/run-%)
	@for t in $(FUZZ_TARGETS); do \
		mkdir -p $(OUT)/fuzz/found/$$t tests/fuzz/corpus/$$t; \
		$(OUT)/fuzz/run-$$t -max_total_time=$(FUZZ_TIME) $(FUZZ_LIMITS) -print_final_stats=1 \
			-artifact_prefix=$(OUT)/fuzz/$$t- $(OUT)/fuzz/found/$$t \
			tests/fuzz/corpus/$$t || exit 1; \
	done

fuzz-corpus: $(FUZZ_TARGETS:%=$(OUT)/fuzz/run-%)
	@for t in $(FUZZ_TARGETS); do \
		rm -rf $(OUT)/fuzz/least/$$t; \
		mkdir -p $(OUT)/fuzz/least/$$t $(OUT)/fuzz/found/$$t tests/fuzz/corpus/$$t; \
		$(OUT)/fuzz/run-$$t -set_cover_merge=1 -use_counters=0 $(FUZZ_LIMITS) $(OUT)/fuzz/least/$$t \
			tests/fuzz/corpus/$$t $(OUT)/fuzz/found/$$t || exit 1; \
		find tests/fuzz/corpus/$$t -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete; \
		cp $(OUT)/fuzz/least/$$t/* tests/fuzz/corpus/$$t/; \
	done

test-fuzz: $(FUZZ_ALL:%=$(OUT)/replay/%)
	@bash tests/fuzz/replay.sh $(OUT)/replay $(FUZZ_ALL)

-include $(FUZZ_OBJS:.o=.d) $(FUZZ_MAINS:.o=.d) $(REPLAY_OBJS:.o=.d) \
	$(FUZZ_ALL:%=$(OUT)/unit/tests/fuzz/fuzz_%.d)
