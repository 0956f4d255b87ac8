# SPDX-License-Identifier: MPL-2.0
# Fuzzing. `make fuzz` looks for new inputs, FUZZ_TIME seconds a target, and keeps what it finds under
# $(OUT)/fuzz; `make test-fuzz` runs the stored ones, compiled as the unit tests are.
# `make fuzz-corpus` stores a small set of inputs that reaches what all those found so far reach, in
# the place of those that it stored before; inputs with names were written by hand and stay.
# `make fuzz-coverage` says which lines and branches of COVER_OF the stored ones reach.

FUZZ_TIME ?= 60
FUZZ_TARGETS ?= gva vmio virtual owner view
# What targets share: every file that is neither a target nor a way to run one.
FUZZ_PARTS := $(filter-out tests/fuzz/fuzz_%.c tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c))
FUZZ_ALL := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS := -fsanitize=fuzzer-no-link $(SAN)
# What an input may take: bytes, seconds.
FUZZ_LIMITS := -max_len=1024 -len_control=20 -timeout=10

COVER_OF ?= $(wildcard vmio/*.[ch])
COVER_FLAGS := -fprofile-instr-generate -fcoverage-mapping

FUZZ_OBJS := $(call host_objs,fuzz,$(HOST_SRCS) $(FUZZ_PARTS))
FUZZ_MAINS := $(call host_objs,fuzz,$(FUZZ_ALL:%=tests/fuzz/fuzz_%.c))
REPLAY_OBJS := $(call host_objs,unit,$(HOST_SRCS) $(FUZZ_PARTS) tests/fuzz/replay.c)

$(OUT)/fuzz/%.o: %.c | deps
	@mkdir -p $(@D)
	@clang $(HOST_FLAGS) $(FUZZ_FLAGS) -c $< -o $@

# The model does not guide the search, and is fast.
$(OUT)/fuzz/tests/%.o: tests/%.c | deps
	@mkdir -p $(@D)
	@clang $(HOST_FLAGS) -O2 $(SAN) -c $< -o $@

$(FUZZ_ALL:%=$(OUT)/fuzz/run-%): $(OUT)/fuzz/run-%: $(OUT)/fuzz/tests/fuzz/fuzz_%.o $(FUZZ_OBJS)
	@clang -fsanitize=fuzzer $(SAN) -pthread $^ -o $@

$(FUZZ_ALL:%=$(OUT)/replay/%): $(OUT)/replay/%: $(OUT)/unit/tests/fuzz/fuzz_%.o $(REPLAY_OBJS)
	@mkdir -p $(@D)
	@$(HOST_CC) $(SAN) -pthread $^ -o $@

COVER_RUNS := $(FUZZ_ALL:%=$(OUT)/cover/run-%)
COVER_WHAT = $(firstword $(COVER_RUNS)) $(COVER_RUNS:%=-object %) -instr-profile=$(OUT)/cover/all.profdata
COVER_OBJS := $(call host_objs,cover,$(HOST_SRCS) $(FUZZ_PARTS) tests/fuzz/replay.c)

$(OUT)/cover/%.o: %.c | deps
	@mkdir -p $(@D)
	@clang $(HOST_FLAGS) $(COVER_FLAGS) -c $< -o $@

$(FUZZ_ALL:%=$(OUT)/cover/run-%): $(OUT)/cover/run-%: $(OUT)/cover/tests/fuzz/fuzz_%.o $(COVER_OBJS)
	@clang $(COVER_FLAGS) -pthread $^ -o $@

.PHONY: fuzz fuzz-corpus fuzz-coverage test-fuzz

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
		$(OUT)/fuzz/run-$$t -set_cover_merge=1 $(FUZZ_LIMITS) $(OUT)/fuzz/least/$$t \
			tests/fuzz/corpus/$$t $(OUT)/fuzz/found/$$t || exit 1; \
		find tests/fuzz/corpus/$$t -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete; \
		cp $(OUT)/fuzz/least/$$t/* tests/fuzz/corpus/$$t/; \
	done

# The lines that are not reached are in $(OUT)/cover/lines.
fuzz-coverage: $(FUZZ_ALL:%=$(OUT)/cover/run-%)
	@rm -f $(OUT)/cover/*.profraw
	@for t in $(FUZZ_ALL); do \
		LLVM_PROFILE_FILE=$(OUT)/cover/$$t.profraw $(OUT)/cover/run-$$t \
			tests/fuzz/corpus/$$t/* || exit 1; \
	done
	@llvm-profdata merge $(OUT)/cover/*.profraw -o $(OUT)/cover/all.profdata
	@llvm-cov show $(COVER_WHAT) $(COVER_OF) --show-branches=count | sed 's/\x1b\[[0-9;]*m//g' | \
		grep -E '^/|^ *[0-9]+\| +0\||: 0[],]' > $(OUT)/cover/lines
	@llvm-cov report $(COVER_WHAT) $(COVER_OF)

test-fuzz: $(FUZZ_ALL:%=$(OUT)/replay/%)
	@bash tests/fuzz/replay.sh $(OUT)/replay $(FUZZ_ALL)

-include $(COVER_OBJS:.o=.d) $(FUZZ_ALL:%=$(OUT)/cover/tests/fuzz/fuzz_%.d)
-include $(FUZZ_OBJS:.o=.d) $(FUZZ_MAINS:.o=.d) $(REPLAY_OBJS:.o=.d) \
	$(FUZZ_ALL:%=$(OUT)/unit/tests/fuzz/fuzz_%.d)
