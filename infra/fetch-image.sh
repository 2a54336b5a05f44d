#!/usr/bin/env bash
# What the machine of machine-image.sh does at its start: it fetches the batch image, and ends. Nothing leads in, so
# that it ends is the word that all went well.
#
# `image` is set before: ACCOUNT.dkr.ecr.REGION.SUFFIX/REPOSITORY@DIGEST. AWS's image for ECS has no AWS CLI, and
# Network=private no way to get one: curl signs as well.
set -euo pipefail

image=${image:?}
registry=${image%%/*}
region=$(cut -d. -f4 <<<"$registry")
suffix=${registry#*".$region."}
metadata=http://169.254.169.254/latest

session=$(curl -sSf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$metadata/api/token")
ask() { # PATH: of the metadata
    curl -sSf -H "X-aws-ec2-metadata-token: $session" "$metadata/meta-data/$1"
}
field() { # NAME: of JSON on standard input, however deep
    grep -o "\"$1\" *: *\"[^\"]*\"" | head -n 1 | cut -d'"' -f4
}

credentials=$(ask "iam/security-credentials/$(ask iam/security-credentials/)")
token=$(curl -sSf --aws-sigv4 "aws:amz:$region:ecr" \
    --user "$(field AccessKeyId <<<"$credentials"):$(field SecretAccessKey <<<"$credentials")" \
    -H "X-Amz-Security-Token: $(field Token <<<"$credentials")" -H 'Content-Type: application/x-amz-json-1.1' \
    -H 'X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken' -d '{}' \
    "https://api.ecr.$region.$suffix/" | field authorizationToken | base64 -d)

systemctl start docker
export DOCKER_CONFIG=/run/iris-image # in memory: the password is not to be in the image that is made
docker login --username "${token%%:*}" --password-stdin "$registry" <<<"${token#*:}"
docker pull --quiet "$image"
echo "$image" >/etc/iris-image
cloud-init clean --logs # a machine that starts from this one is a new one
sync
systemctl poweroff
