#!/usr/bin/env bash
# Makes an image (AMI) of machines with GPUs that has the stack's batch image in it, and has its environments use it.
#
#   infra/machine-image.sh [--stack STACK] [--region REGION] [--dry-run]
#
# A machine is started from the newest of AWS's images for ECS with GPUs, fetches the batch image (fetch-image.sh) and
# ends; an image is made of its disk. To be done again after build-and-push.sh, and every month, since nobody else
# mends it: an image of the same two is not made twice. The last line is its name. With --dry-run AWS is looked at,
# and the commands are printed.
#
# Needs the AWS CLI.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "machine-image: $1" >&2
    exit 1
}

stack=iris-oculus-backend region='' dry=
while (($#)); do
    case $1 in
    --stack | --region)
        (($# > 1)) || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --dry-run)
        dry=1
        shift
        ;;
    *) fail "there is no option $1; the first lines of this file say which there are" ;;
    esac
done
[[ -z $region ]] || export AWS_REGION=$region AWS_DEFAULT_REGION=$region
command -v aws >/dev/null || fail "the AWS CLI is not installed (https://aws.amazon.com/cli)"

# shellcheck source=infra/of-stack.sh
. infra/of-stack.sh

made() { # LOGICAL-ID: what the stack calls it to AWS
    aws cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id "$1" --output text \
        --query StackResourceDetail.PhysicalResourceId
}

waits() { # STATE OPTION ID: AWS's own waiters give up after ten minutes
    local turn
    for turn in 1 2 3; do
        ! run aws ec2 wait "$@" || return 0
        echo "machine-image: $3 is not there yet ($turn of 3)" >&2
    done
    return 1
}

mode=$(parameter Mode) || fail "there is no stack $stack that can be read; --stack and --region name it"
[[ $mode == whole ]] || fail "the machines with GPUs beside $stack are another stack's"
digest=$(parameter ImageDigest)
[[ $digest == sha256:* ]] || fail "the stack $stack has no batch image yet; infra/build-and-push.sh --stack $stack"
repository=$(of_stack "Outputs[?OutputKey=='Repository'].OutputValue | [0]")
address=$(aws ecr describe-repositories --repository-names "$repository" --output text \
    --query 'repositories[0].repositoryUri')
base=$(aws ssm get-parameter --output text --query Parameter.Value \
    --name /aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id)
name=$stack-${digest:7:12}-${base#ami-}

image=$(aws ec2 describe-images --owners self --filters "Name=name,Values=$name" --output text \
    --query 'Images[0].ImageId')
if [[ $image != None ]]; then
    echo "there is an image $name already" >&2
else
    types=$(parameter CpuInstanceTypes) # fetching needs no GPU
    subnet=$(made SubnetA) group=$(made MachineGroup)
    profile=$(made MachineProfile)
    machine=i-0
    tag='{"Key": "Application", "Value": "iris-oculus"}'
    start=(aws ec2 run-instances --image-id "$base" --instance-type "${types%%,*}"
        --subnet-id "$subnet" --security-group-ids "$group"
        --iam-instance-profile "Name=$profile" --metadata-options HttpTokens=required
        --instance-initiated-shutdown-behavior stop
        --block-device-mappings '[{"DeviceName": "/dev/xvda",
            "Ebs": {"VolumeSize": 50, "VolumeType": "gp3", "Throughput": 500, "Encrypted": true}}]'
        --tag-specifications "[{\"ResourceType\": \"instance\", \"Tags\": [$tag]}]"
        --user-data "#!/bin/bash"$'\n'"image=$address@$digest"$'\n'"$(<infra/fetch-image.sh)"
        --output text --query 'Instances[0].InstanceId')
    if [[ -n $dry ]]; then run "${start[@]}"; else machine=$("${start[@]}"); fi
    end() { run aws ec2 terminate-instances --instance-ids "$machine"; }
    [[ -n $dry ]] || trap end EXIT
    waits instance-stopped --instance-ids "$machine" || fail "the machine $machine did not fetch the image in half an \
hour; what it said: aws ec2 get-console-output --instance-id $machine --latest --output text"
    image=ami-0
    create=(aws ec2 create-image --instance-id "$machine" --name "$name"
        --description "Machines with GPUs of $stack, with the batch image"
        --tag-specifications "[{\"ResourceType\": \"image\", \"Tags\": [$tag]},
            {\"ResourceType\": \"snapshot\", \"Tags\": [$tag]}]"
        --output text --query ImageId)
    if [[ -n $dry ]]; then run "${create[@]}"; else image=$("${create[@]}"); fi
    waits image-available --image-ids "$image" || fail "the image $image is not there after half an hour; once it is: \
infra/deploy.sh whole --stack $stack MachineImage=$image"
    [[ -z $dry ]] || end
fi

if [[ $(parameter MachineImage) == "$image" ]]; then
    echo "$stack uses it already" >&2
else
    set_parameter MachineImage "$image"
fi
[[ -n $dry ]] || echo "$image"
