#!/bin/sh
# Checks what the Python packages need to build: a C compiler, Python's headers, GMP's headers.
# Installs them where it may (root on Debian), otherwise says in one line what to install.
set -eu

python=${PYTHON:-python3}
missing=""

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; set PYTHON to one." >&2
    exit 1
}
command -v gcc >/dev/null 2>&1 || missing="$missing gcc"
"$python" - <<'EOP' || missing="$missing python3-dev"
import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").exists())
EOP
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
found_gmp=no
for folder in /usr/include /usr/local/include /opt/homebrew/include /usr/include/*-linux-gnu; do
    [ -e "$folder/gmp.h" ] && found_gmp=yes
done
[ "$found_gmp" = yes ] || missing="$missing libgmp-dev"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing$missing"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Install these first (Debian names):$missing" >&2
    exit 1
fi
