# SPDX-License-Identifier: MPL-2.0
# The protocols as models: an ordinary program that needs nothing of the hypervisor. Without
# sanitizers, for it looks at a hundred million states.

PROTOCOL_OBJS := $(patsubst %.c,$(OUT)/protocol/%.o,$(wildcard tests/protocol/*.c))
PROTOCOL_FLAGS := -std=gnu17 -g -O2 -Wall -Wextra -Werror -I. -MMD -MP

$(OUT)/protocol/%.o: %.c | deps
	@mkdir -p $(@D)
	@$(HOST_CC) $(PROTOCOL_FLAGS) -c $< -o $@

$(OUT)/protocol/run: $(PROTOCOL_OBJS)
	@$(HOST_CC) $^ -o $@

-include $(PROTOCOL_OBJS:.o=.d)
