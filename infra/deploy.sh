#!/usr/bin/env bash
# Deploys infra/template.yaml, or updates what was deployed of it.
#
#   infra/deploy.sh whole   [--stack STACK] [--region REGION] [--dry-run] [PARAMETER=VALUE ...]
#   infra/deploy.sh plug-in [--stack STACK] [--region REGION] [--dry-run] [PARAMETER=VALUE ...]
#
# whole makes everything, as the stack iris-oculus-backend; plug-in stands beside a stack of that name which this
# template did not make, as iris-gateway. A stack that another template made is never deployed over. Parameters that
# are not named keep their values. With --dry-run AWS is looked at, and the command is printed.
#
# Needs the AWS CLI and the SAM CLI.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "deploy: $1" >&2
    exit 1
}

mode=${1:-}
case $mode in
whole) stack=iris-oculus-backend ;;
plug-in) stack=iris-gateway ;;
*) fail "say how: infra/deploy.sh whole, or infra/deploy.sh plug-in" ;;
esac
shift

region='' dry='' parameters=("Mode=$mode")
while (($#)); do
    case $1 in
    --stack | --region)
        (($# > 1)) || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift
        ;;
    --dry-run) dry=1 ;;
    Mode=*) fail "the mode is the first word: infra/deploy.sh $mode" ;;
    *=*\ *) parameters+=("${1%%=*}=\"${1#*=}\"") ;; # sam ends a value at its first blank, unless it is quoted
    *=*) parameters+=("$1") ;;
    *) fail "there is no option $1; parameters are written PARAMETER=VALUE" ;;
    esac
    shift
done
[[ -z $region ]] || export AWS_REGION=$region AWS_DEFAULT_REGION=$region
command -v aws >/dev/null || fail "the AWS CLI is not installed (https://aws.amazon.com/cli)"
[[ -n $dry ]] || command -v sam >/dev/null || fail 'the SAM CLI is not installed (pip install aws-sam-cli)'

# What a stack says; empty where there is none, and an end where AWS does not let us look.
about() { # STACK QUERY
    local said
    if said=$(aws cloudformation describe-stacks --stack-name "$1" --output text --query "Stacks[0].$2" 2>&1); then
        echo "$said"
    elif [[ $said != *"does not exist"* ]]; then
        fail "$said"
    fi
}

deployed=$(about "$stack" "Parameters[?ParameterKey=='Mode'].ParameterValue | [0]")
case $deployed in
"$mode") ;;
'')
    if [[ $mode == whole ]]; then
        groups=$(aws logs describe-log-groups --log-group-name-prefix /aws/batch/job --output text \
            --query "length(logGroups[?logGroupName=='/aws/batch/job'])")
        ((groups == 0)) || [[ " ${parameters[*]} " == *" LogGroup="* ]] || parameters+=(LogGroup=keep)
    fi
    ;;
None)
    [[ $mode == plug-in ]] || fail "there is a stack $stack that another template made, and a deployment over it \
would replace what is in it. Deploy beside it: infra/deploy.sh plug-in. Or take another region."
    fail "there is a stack $stack that another template made; name another one with --stack"
    ;;
*) fail "the stack $stack was deployed as $deployed; go on with infra/deploy.sh $deployed, or name another with --stack" ;;
esac

if [[ $mode == plug-in ]]; then
    exports=$(aws cloudformation list-exports --output text --query 'Exports[].Name')
    for name in IrisDataBucket IrisBatchJobQueue IrisECRRepository; do
        [[ " ${exports//[$'\t\n']/ } " == *" $name "* ]] \
            || fail "no stack here exports $name; is this the right region? Without a present stack: infra/deploy.sh whole"
    done
fi

command=(sam deploy --template-file infra/template.yaml --stack-name "$stack" --resolve-s3
    --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --no-fail-on-empty-changeset
    --tags Application=iris-oculus --parameter-overrides "${parameters[@]}")
if [[ -n $dry ]]; then
    printf '+'
    printf ' %q' "${command[@]}"
    echo
    exit
fi
"${command[@]}"
echo "next: infra/build-and-push.sh --stack $stack, then iris config from-stack $stack --out iris.toml"
