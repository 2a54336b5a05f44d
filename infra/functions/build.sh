#!/bin/sh
# Makes the folder that becomes a function's code: the gateway without what works on images, what it needs, a handler.
#   build.sh FUNCTION FOLDER              for Lambda on arm64; FUNCTION is a folder beside this file
#   PLATFORM= build.sh FUNCTION FOLDER    for this machine, to try it
# PYTHON names the Python whose pip is used; RUNTIME is the version of the function's Python.
set -eu

usage="say which function, and the folder to make: build.sh status FOLDER"
function=${1:?"$usage"}
folder=${2:?"$usage"}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
PLATFORM=${PLATFORM-manylinux2014_aarch64}
RUNTIME=${RUNTIME-3.13}
PYTHON=${PYTHON-python3}

if [ ! -e "$here/$function/handler.py" ]; then
    echo "there is no function $function beside $0" >&2
    exit 1
fi
if [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
    echo "$folder is there already; empty it, or name another" >&2
    exit 1
fi

# Only a pip as new as this one checks packages by the hashes of a constraints file.
tools=$(mktemp -d)
trap 'rm -r "$tools"' EXIT
"$PYTHON" -m pip --disable-pip-version-check install --quiet --no-compile --target "$tools" \
    --require-hashes --requirement "$root/container/pip.txt"

install() {
    PYTHONPATH=$tools "$PYTHON" -m pip --disable-pip-version-check install --quiet --no-compile --target "$folder" "$@"
}

if [ -n "$PLATFORM" ]; then
    install --platform "$PLATFORM" --python-version "$RUNTIME" --only-binary=:all: \
        --require-hashes --constraint "$root/constraints.txt" --requirement "$here/requirements.txt"
else
    install --require-hashes --constraint "$root/constraints.txt" --requirement "$here/requirements.txt"
fi
install --no-deps --build-constraint "$root/constraints.txt" "$root"
rm -r "${folder:?}/converter" "${folder:?}/gateway/demo" "${folder:?}/bin"
cp "$here/$function/handler.py" "$folder/"
