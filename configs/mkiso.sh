#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# mkiso.sh KERNEL GRUB.CFG OUT.iso [GUEST...]: an ISO that boots under BIOS and UEFI. With SLIM=1 a
# BIOS-only one with few GRUB modules, which boots faster under Bochs.
set -eu
kernel=$1 cfg=$2 iso=$3
shift 3
work=$(mktemp -d)
tree=$work/tree
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$tree/boot/grub" "$tree/guests"
# What a menu gives in place of an image that is not there.
: >"$tree/boot/absent"
cp "$kernel" "$tree/boot/nestling.elf"
strip -g "$tree/boot/nestling.elf"
cp "$cfg" "$tree/boot/grub/grub.cfg"
for guest in "$@"; do
	cp "$guest" "$tree/guests/"
done
modules="multiboot2 normal iso9660 biosdisk serial echo"
# No menu is ever drawn: neither fonts nor translations are needed.
options=(--fonts= --locales= --themes=)
if [ "${SLIM:-0}" = 1 ]; then
	options+=(-d /usr/lib/grub/i386-pc "--install-modules=$modules")
fi
if ! TMPDIR=$work grub-mkrescue "${options[@]}" -o "$iso" "$tree" >"$work/log" 2>&1; then
	cat "$work/log"
	rm -f "$iso"
	exit 1
fi
