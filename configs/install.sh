#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# install.sh PACKAGE...: installs what is missing, where that is allowed; otherwise says what to do.
set -u
missing=
for p in "$@"; do
	dpkg-query -W -f='${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then
	sudo=
elif sudo -n true 2>/dev/null; then
	sudo=sudo
else
	echo "These packages are missing. Please install them and try again:"
	echo "  sudo apt-get install --no-install-recommends$missing"
	exit 1
fi
echo "Installing what is missing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -q update >/dev/null || echo "apt-get update failed; going on with the old package lists"
# The noise of a good installation is not worth reading; that of a failed one is.
log=$(mktemp)
if ! $sudo apt-get -q install -y --no-install-recommends $missing >"$log" 2>&1; then
	tail -20 "$log"
	echo "apt-get could not install:$missing"
	rm -f "$log"
	exit 1
fi
rm -f "$log"
