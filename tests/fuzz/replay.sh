#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# replay.sh OUT TARGET...: runs each stored input of tests/fuzz/corpus/TARGET through OUT/TARGET. A
# target without an input is a failure: nothing would be tested.
out=$1
shift
passed=0 failed=0
log=$(mktemp)
for target in "$@"; do
	count=0
	for input in tests/fuzz/corpus/"$target"/*; do
		[ -f "$input" ] || continue
		count=$((count + 1))
		if timeout 20 "$out/$target" "$input" >"$log" 2>&1; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			echo "$input fails; to see how: $out/$target $input"
			tail -20 "$log"
		fi
	done
	if [ "$count" = 0 ]; then
		failed=$((failed + 1))
		echo "tests/fuzz/corpus/$target has no inputs"
	fi
done
rm -f "$log"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
