#!/usr/bin/env bash
# Builds the batch image, pushes it into the stack's repository, and has the stack's job definitions use it.
#
#   infra/build-and-push.sh [--stack STACK] [--region REGION] [--tasks "total total_mr"] [--dry-run]
#                           [-- options for the builder, such as --build-arg TORCH=cpu]
#
# The tag is VERSION-REVISION-TASKS, so a working tree with changes is refused. What was done is not done again: an
# image that is in the repository is not built, and a stack that uses it is not updated. The last line is the digest.
# With --dry-run it only says what it would do; AWS is looked at, and nothing is built, pushed or changed.
#
# Needs the AWS CLI, and Docker or Podman (IRIS_BUILDER names one).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "build-and-push: $1" >&2
    exit 1
}

stack=iris-oculus-backend region='' tasks=total dry=
while (($#)); do
    case $1 in
    --stack | --region | --tasks)
        (($# > 1)) || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --dry-run)
        dry=1
        shift
        ;;
    --)
        shift
        break
        ;;
    *) fail "there is no option $1; the first lines of this file say which there are" ;;
    esac
done
[[ -z $region ]] || export AWS_REGION=$region AWS_DEFAULT_REGION=$region

# shellcheck source=infra/of-stack.sh
. infra/of-stack.sh

command -v aws >/dev/null || fail "the AWS CLI is not installed (https://aws.amazon.com/cli)"
builder=${IRIS_BUILDER:-}
for program in docker podman; do
    [[ -n $builder ]] || ! command -v "$program" >/dev/null || builder=$program
done
[[ -n $builder || -n $dry ]] || fail "install docker or podman"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse --short=12 HEAD)
[[ -n $dry || -z $(git status --porcelain) ]] || fail "there are changes that no revision has; commit them first"
tag=$version-$revision-${tasks// /.}

repository=$(of_stack "Outputs[?OutputKey=='Repository'].OutputValue | [0]") \
    || fail "there is no stack $stack that can be read; --stack and --region name it"
[[ $repository != None ]] || fail "the stack $stack has no output Repository; it is not made of infra/template.yaml"
address=$(aws ecr describe-repositories --repository-names "$repository" --output text \
    --query 'repositories[0].repositoryUri')

pushed() { # the digest under our tag; None while there is none
    aws ecr batch-get-image --repository-name "$repository" --image-ids "imageTag=$tag" --output text \
        --query 'images[0].imageId.imageDigest'
}

digest=$(pushed)
if [[ $digest == None ]]; then
    local_image=iris-batch:$tag
    [[ $builder != podman ]] || local_image=localhost/$local_image
    run env "IRIS_BUILDER=$builder" "IRIS_TAG=$tag" container/build-images.sh batch -- \
        --build-arg "TASKS=$tasks" "$@"
    if [[ -n $dry ]]; then
        echo "+ aws ecr get-login-password | ${builder:-docker} login --username AWS --password-stdin ${address%%/*}"
    else
        aws ecr get-login-password | "$builder" login --username AWS --password-stdin "${address%%/*}" >&2
    fi
    run "${builder:-docker}" tag "$local_image" "$address:$tag"
    run "${builder:-docker}" push "$address:$tag"
    [[ -n $dry ]] || digest=$(pushed)
    [[ -n $dry || $digest != None ]] || fail "the image was pushed, and $repository does not have it"
else
    echo "$repository has $tag already" >&2
fi
[[ -z $dry || $digest != None ]] || digest=sha256:$(printf '0%.0s' {1..64}) # not known yet

if [[ $(parameter ImageDigest) == "$digest" ]]; then
    echo "$stack uses it already" >&2
else
    set_parameter ImageDigest "$digest"
    [[ $(parameter MachineImage) != ami-* ]] || echo "its \
machines start with the earlier image and fetch this one: infra/machine-image.sh --stack $stack" >&2
fi
[[ -n $dry ]] || echo "$digest"
