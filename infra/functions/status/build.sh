#!/bin/sh
# Makes the folder that becomes the function's code: the gateway without what works on images, and what it needs.
#   build.sh FOLDER              for Lambda on arm64
#   PLATFORM= build.sh FOLDER    for this machine, to try it
# PYTHON names the Python whose pip is used; RUNTIME is the version of the function's Python.
set -eu

folder=${1:?"name the folder to make: build.sh FOLDER"}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
PLATFORM=${PLATFORM-manylinux2014_aarch64}
RUNTIME=${RUNTIME-3.13}
PYTHON=${PYTHON-python3}

if [ -e "$folder" ]; then
    echo "$folder is there already; remove it, or name another" >&2
    exit 1
fi

install() {
    "$PYTHON" -m pip --disable-pip-version-check install --quiet --no-compile --target "$folder" "$@"
}

if [ -n "$PLATFORM" ]; then
    install --platform "$PLATFORM" --python-version "$RUNTIME" --only-binary=:all: \
        --constraint "$here/../../../constraints.txt" --requirement "$here/requirements.txt"
else
    install --constraint "$here/../../../constraints.txt" --requirement "$here/requirements.txt"
fi
install --no-deps "$here/../../.."
rm -r "${folder:?}/converter" "${folder:?}/gateway/demo" "${folder:?}/bin"
cp "$here/handler.py" "$folder/"
