#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# The rules of the house, each a function that prints what breaks it. Every rule is also tried on a
# sample that breaks it (tests/lint/bad/), and fails when it finds nothing there.
# A file of tests/lint/bad/ is looked at as if it were in the room that is named there.
set -u
cd "$(dirname "$0")/../.."
KERNEL_FLAGS="-std=gnu17 -ffreestanding -fno-builtin -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only
	-mcmodel=kernel -O2 -Wall -Wextra -Werror -I. -Ibase/x86 -DCHECKED=1"
HOST_FLAGS="-std=gnu17 -O1 -Wall -Wextra -Werror -I. -Itests/host -DCHECKED=1 -pthread"
rooms="base mm ept vmio guest hv boot"

# The floor that a file is on; 9 for tests.
floor() {
	case $1 in
	base/*) echo 0 ;;
	mm/*) echo 1 ;;
	ept/* | vmio/*) echo 2 ;;
	guest/*) echo 3 ;;
	hv/*) echo 4 ;;
	boot/*) echo 5 ;;
	*) echo 9 ;;
	esac
}

sources() {
	git ls-files --cached --others --exclude-standard -- "$@" | grep -v '^tests/lint/bad/' |
		while read -r f; do [ -f "$f" ] && echo "$f"; done
}

# Includes point to the same room or to a lower floor. (ept and vmio share a floor and nothing else.)
rule_includes() {
	for f in "$@"; do
		from=$(floor "${f#tests/lint/bad/}")
		sed -n 's/^#include "\([^"]*\)".*/\1/p' "$f" | while read -r inc; do
			to=$(floor "$inc")
			room=${f#tests/lint/bad/}
			if [ "$to" -gt "$from" ] ||
				{ [ "$to" = "$from" ] && [ "${inc%%/*}" != "${room%%/*}" ] && [ "$to" != 9 ]; }; then
				echo "$f: includes $inc, which is not below it"
			fi
		done
	done
}

rule_spdx() {
	for f in "$@"; do
		head -2 "$f" | grep -q 'SPDX-License-Identifier: MPL-2.0' || echo "$f: no SPDX line"
	done
}

rule_ifdef() {
	for f in "$@"; do
		case $f in *.c) grep -nHE '^[[:space:]]*#[[:space:]]*if' "$f" ;; esac
	done
}

rule_todo() {
	grep -nHE '\b(TODO|FIXME|XXX|HACK)\b' "$@"
}

# Functions of at most 100 lines, files of at most 600.
rule_length() {
	for f in "$@"; do
		awk -v f="$f" '
			/^[a-zA-Z_].*[^;]$/ { name = $0 }
			/^{/ { start = NR }
			/^}/ { if (start && NR - start > 100) print f ": " name ": " NR - start " lines"; start = 0 }
			END { if (NR > 600) print f ": " NR " lines" }' "$f"
	done
}

# Only vmio turns a guest's address into a pointer. Names of what makes pointers out of addresses:
#   ept, guest, hv   do not have them at all, neither called nor given on, nor what vmio has inside
#                    of a reader; what they own is reached by frame_own_bytes, which panics for a
#                    guest's memory
#   mm, boot, base   have none of them where guest-physical addresses or a guest's tables are
POINTERS='\b(hpa_ptr|hva_ptr|hpa_to_hva|frame_bytes|segment_bytes|LINEAR_BASE|vm_place|kvirt_map_(frames|untracked))\b'
POINTERS="$POINTERS|\b(vm_page_|vm_io_(look|ptr|find|ready|remember)|piece_|pt_entries|guest_word_|word_(load|store|swap)|move_(any|bytes|fill|known|block))"
POINTERS="$POINTERS|0x[fF]{4}8|(->|\.)place\b"
rule_gpa() {
	for f in "$@"; do
		case $f in
		# That one test looks at areas of Nestling's own.
		hv/console/test_areas.c) ! grep -qE '\bgpa|vm_(lookup|translate|walk|query)' "$f" || echo "$f: guest memory" ;;
		vmio/* | base/addr.h | mm/vm_space.h | mm/pt_ops.h) ;;
		*)
			case ${f#tests/lint/bad/} in
			ept/* | guest/* | hv/*) grep -nHE "$POINTERS" "$f" ;;
			*)
				! grep -qE '\bgpa_t\b|\bgpa\(|\.gpa\b|\bvm_(lookup|translate|walk|query)\b' "$f" ||
					grep -nHE "$POINTERS" "$f"
				;;
			esac
			;;
		esac
	done
}

rule_format() {
	for f in "$@"; do
		clang-format --dry-run -Werror "$f" >/dev/null 2>&1 || echo "$f: run make format"
	done
}

# Every header compiles alone. The engine's parts are one text with the format that includes them.
rule_alone() {
	for f in "$@"; do
		case $f in
		*.c | mm/engine*.h | tests/host/arch/*) continue ;;
		tests/*) flags=$HOST_FLAGS ;;
		*) flags=$KERNEL_FLAGS ;;
		esac
		printf '#include "%s"\n' "$f" | gcc $flags -x c -fsyntax-only - 2>&1 | grep -E 'error' | head -3
	done
}

# Both compilers, without a warning.
rule_clang() {
	for f in "$@"; do
		case ${f#tests/lint/bad/} in
		guest/tiny/* | *.h) ;;
		tests/*) clang $HOST_FLAGS -fsyntax-only "$f" 2>&1 | grep -E 'error' | head -3 ;;
		*) clang $KERNEL_FLAGS -fsyntax-only "$f" 2>&1 | grep -E 'error' | head -3 ;;
		esac
	done
}

# The build without contract checks has no warnings either.
rule_unchecked() {
	for f in "$@"; do
		case ${f#tests/lint/bad/} in
		guest/tiny/* | *.h) ;;
		*) gcc $KERNEL_FLAGS -UCHECKED -DCHECKED=0 -S -o /dev/null "$f" 2>&1 | grep -E 'error' | head -3 ;;
		esac
	done
}

# What cppcheck is sure of. (The linker's symbols are objects that it takes for unrelated.)
rule_cppcheck() {
	cppcheck --quiet --enable=warning,portability --suppress=comparePointers \
		--suppress=uninitMemberVar --std=c11 -I. -Ibase/x86 -DCHECKED=1 "$@" 2>&1 |
		grep -E '(error|warning|portability):'
}

# What we ship speaks of itself only: no path of somebody's machine, no number of somebody's list.
rule_self() {
	grep -nHE '/(work|home)/[a-z]|\b[Ii]ssues? #?[0-9]' "$@" | grep -v '^tests/lint/lint.sh:'
}

# No object needs a symbol of a higher floor, or of another room on its own.
check_symbols() {
	local dir
	dir=$(mktemp -d)
	for f in "$@"; do
		o=$dir/object.o
		if ! gcc $KERNEL_FLAGS -c "$f" -o "$o" 2>/dev/null; then
			echo "$f: does not compile" >>"$dir/failed"
			continue
		fi
		nm -P "$o" | awk -v f="${f#tests/lint/bad/}" '{ print f, $1, $2 }'
	done >"$dir/all"
	cat "$dir/failed" 2>/dev/null
	awk '
		BEGIN { n["base"] = 0; n["mm"] = 1; n["ept"] = n["vmio"] = 2; n["guest"] = 3; n["hv"] = 4
			n["boot"] = 5 }
		function room(f) { sub("/.*", "", f); return f }
		$3 ~ /^[TDBRC]$/ { home[$2] = room($1) }
		$3 == "U" { want[$1 " " $2] }
		END {
			for (w in want) {
				split(w, p, " ")
				if (!(p[2] in home) || home[p[2]] == room(p[1]))
					continue
				if (n[home[p[2]]] >= n[room(p[1])])
					print p[1] ": needs " p[2] " of " home[p[2]]
			}
		}' "$dir/all"
	rm -rf "$dir"
}

# The engine is compiled for each format: no walk calls or jumps through a pointer. (The audit reports
# through one.)
check_indirect() {
	local o
	o=$(mktemp)
	for f in "$@"; do
		gcc $KERNEL_FLAGS -c "$f" -o "$o" && objdump -d --no-show-raw-insn "$o" |
			awk -v f="$f" '/^[0-9a-f]+ <.*>:$/ { name = $2 }
				/(call|jmp) +\*/ && name !~ /audit/ { print f ": " name " " $0 }'
	done
	rm -f "$o"
}

# Half of the functions have at most 12 lines, nine of ten at most 40.
check_spread() {
	awk '
		FNR == 1 { start = 0 }
		/^{/ { start = FNR }
		/^}/ { if (start) print FNR - start - 1; start = 0 }' "$@" | sort -n |
		awk '{ n[NR] = $1 }
			END {
				half = n[int((NR + 1) / 2)]; most = n[int(NR * 0.9 + 0.999)]
				if (half > 12) print "the median function has " half " lines, more than 12"
				if (most > 40) print "one function of ten has more than " most - 1 " lines: 40 at most"
			}'
}

passed=0 failed=0
report() {
	if [ -z "$2" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "lint: $1:"
		sed 's/^/  /' <<<"$2"
	fi
}

mapfile -t all < <(sources '*.c' '*.h')
mapfile -t text < <(sources '*.c' '*.h' '*.S' '*.sh' '*.py' '*.mk' Makefile)
# Git matches the patterns, in all folders of a room; the shell would match those of its top only.
set -f
mapfile -t core < <(sources $(for r in $rooms; do echo "$r/*.c" "$r/*.h"; done))
set +f
report "includes point down" "$(rule_includes "${core[@]}")"
mapfile -t linked < <(printf '%s\n' "${core[@]}" | grep '\.c$' | grep -v '^guest/tiny/')
report "symbols point down" "$(check_symbols "${linked[@]}")"
report "no indirect call on a walk" "$(check_indirect mm/host_pt.c ept/ept.c ept/npt.c)"
report "SPDX lines" "$(rule_spdx "${text[@]}")"
report "no #if in .c files" "$(rule_ifdef "${all[@]}")"
report "no TODO" "$(rule_todo "${all[@]}")"
report "lengths" "$(rule_length "${core[@]}")"
report "most functions are short" "$(check_spread "${linked[@]}")"
report "nothing from outside" "$(rule_self "${text[@]}" README.md docs/*)"
report "guest addresses become pointers in vmio only" "$(rule_gpa "${core[@]}")"
report "clang-format" "$(rule_format "${all[@]}")"
report "headers compile alone" "$(rule_alone "${all[@]}")"
report "clang compiles without a warning" "$(rule_clang "${all[@]}")"
report "no warning without contract checks" "$(rule_unchecked "${core[@]}")"
report "cppcheck" "$(rule_cppcheck "${linked[@]}")"

# A rule that finds nothing in a bad sample proves nothing.
must_find() {
	if [ -n "$2" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "lint: rule $1 does not see its bad sample"
	fi
}

bad=tests/lint/bad
for f in $bad/*/*; do
	rule=$(sed -n 's/.*lint-must-find: \([a-z]*\).*/\1/p' "$f" | head -1)
	[ -z "$rule" ] || must_find "$rule ($f)" "$("rule_$rule" "$f" 2>/dev/null)"
done
must_find symbols "$(check_symbols $bad/mm/up.c $bad/hv/up.c)"
must_find "symbols (another room)" "$(check_symbols $bad/ept/beside.c $bad/vmio/beside.c)"
must_find "symbols (no object)" "$(check_symbols $bad/mm/clang.c)"
must_find indirect "$(check_indirect $bad/mm/indirect.c)"
must_find spread "$(check_spread $bad/mm/length.c)"
must_find "of the core (folders of a room)" "$(printf '%s\n' "${core[@]}" | grep '^hv/console/.*\.c$')"
long=$(mktemp)
yes '/**/' | head -601 >"$long"
must_find "length (of a file)" "$(rule_length "$long")"
rm -f "$long"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
