#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# sum.sh OUT PART...: runs the parts one after the other, whatever each says, and adds up their closing
# lines. A part that fails without such a line, runs no test, or does not end, counts as one failure.
out=$1
shift
passed=0 failed=0 skipped=0
mkdir -p "$out/log"
for part in "$@"; do
	echo "== $part"
	log=$out/log/$part.log
	timeout -k 10 "${PART_SECONDS:-480}" ${MAKE:-make} --no-print-directory OUT="$out" "$part" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$log" | tail -1)
	read -r p f s <<<"$(sed -E 's/[^0-9]+/ /g' <<<"$line")"
	if [ -z "$line" ] || { [ "$status" != 0 ] && [ "${f:-0}" = 0 ]; } ||
		[ "$((p + f + ${s:-0}))" = 0 ]; then
		echo "$part failed without a count (status $status)"
		f=$((${f:-0} + 1))
	fi
	passed=$((passed + ${p:-0})) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
