#!/bin/sh
# Create .venv with dentalzoo and all its dependencies; `make setup` runs it when the pins have changed.
# PYTHON=python3.12 selects another interpreter. pip reads its settings from the environment.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 1
}

# Install Debian and Ubuntu packages if this user may; otherwise name them in an error.
packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing $* with apt-get" >&2
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -q && apt-get install -yq --no-install-recommends "$@"; } >&2 ||
            fail "apt-get could not install $*"
    else
        fail "$* is missing; install it (Debian, Ubuntu: sudo apt-get install $*) and run this again"
    fi
}

# Print the first supported interpreter; 3.11 is the most tested.
interpreter() {
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

python=$(interpreter)
if [ -z "$python" ] && [ -z "${PYTHON:-}" ]; then
    packages python3 python3-venv
    python=$(interpreter)
fi
[ -n "$python" ] || fail "Python must be 3.11, 3.12 or 3.13; select one with PYTHON=/path/to/python. Received: ${PYTHON:-$(python3 -V 2>&1)}"

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        packages "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    echo "setup: creating .venv with $("$python" -V); this takes minutes" >&2
    "$python" -m venv --clear .venv
fi
.venv/bin/python -m pip install --editable '.[all,beam,dev,docs]' >.venv/pip.log 2>&1 || {
    tail -n 20 .venv/pip.log >&2
    fail "pip could not install dentalzoo; its output is in .venv/pip.log"
}

# Open3D is linked against these even without a screen; only jaw_reconstruction needs it.
if ! .venv/bin/python -c 'import open3d' 2>/dev/null; then
    libraries="libegl1 libgl1 libidn2-0 libudev1 libusb-1.0-0 libx11-6"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        packages $libraries
    else
        echo "setup: jaw_reconstruction needs $libraries (Debian, Ubuntu: sudo apt-get install $libraries); everything else works" >&2
    fi
fi

# dciodvfy, with which the slow tests judge DICOM results; without it they are skipped.
if ! command -v dciodvfy >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        packages dicom3tools
    else
        echo "setup: some slow tests need dicom3tools (Debian, Ubuntu: sudo apt-get install dicom3tools); everything else works" >&2
    fi
fi
