#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# replay.sh OUT TARGET...: runs the stored inputs of tests/fuzz/corpus/TARGET through OUT/TARGET, all
# in one process, and when that fails each on its own. A target is one test; one without an input is
# a failure: nothing would be tested.
out=$1
shift
passed=0 failed=0
log=$(mktemp)

# One after the other, to name those that fail.
each() {
	local bad=0
	for input in "$@"; do
		timeout 20 "$out/$target" "$input" >"$log" 2>&1 && continue
		bad=$((bad + 1))
		echo "$input fails; to see how: $out/$target $input"
		tail -20 "$log"
	done
	[ "$bad" != 0 ] || echo "the inputs of $target fail in one process, and none does on its own"
}

for target in "$@"; do
	inputs=()
	for input in tests/fuzz/corpus/"$target"/*; do
		[ -f "$input" ] && inputs+=("$input")
	done
	if [ ${#inputs[@]} = 0 ]; then
		failed=$((failed + 1))
		echo "tests/fuzz/corpus/$target has no inputs"
	elif timeout 100 "$out/$target" "${inputs[@]}" >"$log" 2>&1; then
		passed=$((passed + 1))
		echo "fuzz: $target: ${#inputs[@]} stored inputs: ok"
	else
		failed=$((failed + 1))
		tail -20 "$log"
		each "${inputs[@]}"
	fi
done
rm -f "$log"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
