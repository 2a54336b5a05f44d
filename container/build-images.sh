#!/usr/bin/env bash
# Builds the images iris-gateway and iris-batch, and writes what is in them (CycloneDX) beside.
#
#   container/build-images.sh [gateway] [batch] [-- options for the builder, such as --build-arg ENGINE=threshold]
#
# With Docker or Podman that reach a registry the base is the Dockerfile's own. With IRIS_BUILDER=buildah, and where
# neither is there, the base is made of Debian packages (mmdebstrap) and no registry is asked.
#
#   IRIS_BUILDER   docker, podman or buildah
#   IRIS_TAG       what the images are tagged with (default: the version)
#   IRIS_BOM_DIR   where the lists of contents go (default: dist)
#   IRIS_MOUNTS    more files for the build, as --volume takes them, with blanks between (buildah)
#
# The base that is made is kept as localhost/iris-base; remove it (buildah rmi) for one with the latest packages.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "build-images: $1" >&2
    exit 1
}

targets=()
while (($#)); do
    case $1 in
    gateway | batch) targets+=("$1") ;;
    --)
        shift
        break
        ;;
    *) fail "there is no target $1; there are gateway and batch" ;;
    esac
    shift
done
((${#targets[@]})) || targets=(gateway batch)
options=("$@")

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
tag=${IRIS_TAG:-$version}
revision=$(git rev-parse HEAD 2>/dev/null || true)
# The engine is named, although the Dockerfile has the same default: older builders look for its stage without that.
options=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg ENGINE=totalsegmentator
    "${options[@]}")

builder=${IRIS_BUILDER:-}
for program in docker podman buildah; do
    [[ -n $builder ]] || ! command -v "$program" >/dev/null || builder=$program
done
[[ -n $builder ]] || fail "install docker, podman, or buildah with mmdebstrap (apt-get install buildah mmdebstrap)"
command -v "$builder" >/dev/null || fail "$builder is not installed"

base=localhost/iris-base:latest
make_base() {
    ! buildah inspect --type image "$base" >/dev/null 2>&1 || return 0
    command -v mmdebstrap >/dev/null || fail "mmdebstrap is not installed (apt-get install mmdebstrap)"
    local parent=${TMPDIR:-/tmp} room_mb folder container
    # dpkg waits for the disk after each file: where there is room in memory, that takes half the time.
    room_mb=$(df --output=avail --block-size=1M /dev/shm 2>/dev/null | tail --lines=1 || true)
    ((${room_mb:-0} < 1000)) || parent=/dev/shm
    folder=$(mktemp --directory --tmpdir="$parent")
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$folder'" EXIT
    TMPDIR=$folder mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
        bookworm "$folder/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder/base.tar" / >/dev/null
    buildah commit --quiet --rm "$container" "$base" >/dev/null
}

if [[ $builder == buildah ]]; then
    make_base
    options+=(--build-arg "BASE=$base" --pull-never --isolation chroot --format docker --layers)
    # The machine's own certificates and package index, where it has some.
    for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do
        [[ ! -e $file ]] || options+=(--volume "$file:$file:ro")
    done
    for mount in ${IRIS_MOUNTS:-}; do
        options+=(--volume "$mount")
    done
fi

read_file() { # IMAGE PATH: a file of an image, to standard output
    local container
    if [[ $builder == buildah ]]; then
        container=$(buildah from --pull-never "$1")
        buildah run --isolation chroot "$container" -- cat "$2"
        buildah rm "$container" >/dev/null
    else
        container=$("$builder" create "$1")
        "$builder" cp "$container:$2" - | tar --extract --to-stdout
        "$builder" rm "$container" >/dev/null
    fi
}

boms=${IRIS_BOM_DIR:-dist}
mkdir -p "$boms"
for target in "${targets[@]}"; do
    image=localhost/iris-$target:$tag
    [[ $builder == buildah ]] || image=iris-$target:$tag
    "$builder" build "${options[@]}" --target "$target" --tag "$image" .
    read_file "$image" /usr/share/iris/bom.json >"$boms/iris-$target-$tag.cdx.json"
    echo "$image, with what is in it in $boms/iris-$target-$tag.cdx.json"
done
