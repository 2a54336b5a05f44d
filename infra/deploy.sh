#!/usr/bin/env bash
# Deploys infra/template.yaml, or updates what was deployed of it.
#
#   infra/deploy.sh whole   [--stack STACK] [--region REGION] [--dry-run] [PARAMETER=VALUE ...]
#   infra/deploy.sh plug-in [--stack STACK] [--region REGION] [--dry-run] [PARAMETER=VALUE ...]
#
# whole makes everything, as the stack iris-oculus-backend; plug-in stands beside a stack of that name which this
# template did not make, as iris-gateway. A stack that another template made is never deployed over. Parameters that
# are not named keep their values; a new stack gets the machine types and zones that its region has (offered.sh). With
# --dry-run AWS is looked at, and the commands are printed.
#
# Needs the AWS CLI, the SAM CLI, make, and Python with pip.
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
# Names that some resource could not have are known only when it is made, after most others.
[[ $stack =~ ^[a-z][a-z0-9-]{0,28}$ ]] || fail "a stack cannot be named $stack: small letters, digits and hyphens, 29 \
at most, and a letter first, since bucket, repository and sign-in page take no others"
[[ $stack != *@(aws|amazon|cognito)* ]] || fail "a stack cannot be named $stack: the sign-in page's address may not \
have aws, amazon or cognito in it"
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

is_set() { # PARAMETER: whether it was named
    [[ " ${parameters[*]} " == *" $1="* ]]
}

remove="aws cloudformation delete-stack --stack-name $stack && \
aws cloudformation wait stack-delete-complete --stack-name $stack"
why="aws cloudformation describe-stack-events --stack-name $stack says why"
stands=$(about "$stack" "[StackStatus, Parameters[?ParameterKey=='Mode'].ParameterValue | [0], \
Parameters[?ParameterKey=='Protected'].ParameterValue | [0]]")
read -r status deployed protected <<<"$stands" || true
case $status in
ROLLBACK_COMPLETE | ROLLBACK_FAILED | CREATE_FAILED | DELETE_FAILED)
    fail "the stack $stack was not made, or not wholly removed ($status), and cannot be updated. $why; remove what is \
left of it, then again: $remove"
    ;;
REVIEW_IN_PROGRESS)
    fail "the stack $stack was prepared once and never made ($status); there is nothing in it. Remove it, then again: \
$remove"
    ;;
UPDATE_ROLLBACK_FAILED)
    fail "an update of the stack $stack failed, and could not be taken back ($status). $why; settle that, then: \
aws cloudformation continue-update-rollback --stack-name $stack"
    ;;
*_IN_PROGRESS) fail "the stack $stack is at $status; wait until that is over, then again" ;;
esac

case $deployed in
"$mode")
    # What interrupted a creation between its two steps left it open.
    [[ $protected != no ]] || is_set Protected || parameters+=(Protected=yes)
    ;;
'')
    if [[ $mode == whole ]]; then
        groups=$(aws logs describe-log-groups --log-group-name-prefix /aws/batch/job --output text \
            --query "length(logGroups[?logGroupName=='/aws/batch/job'])")
        ((groups == 0)) || is_set LogGroup || parameters+=(LogGroup=keep)
        # Buckets of all regions share their names: the first stack of an account has the present one's.
        bucket=iris-oculus-data-$(aws sts get-caller-identity --output text --query Account)
        if ! is_set BucketName && aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
            here=$(aws ec2 describe-availability-zones --output text --query 'AvailabilityZones[0].RegionName')
            parameters+=("BucketName=$bucket-$here")
            echo "deploy: there is a bucket $bucket already, of another region or of a stack that was removed; this \
one is named $bucket-$here" >&2
        fi
        aws iam get-role --role-name AWSServiceRoleForEC2Spot --query Role.Arn --output text >/dev/null 2>&1 \
            || echo "deploy: no role for Spot machines is to be seen in this account; without it none starts: \
aws iam create-service-linked-role --aws-service-name spot.amazonaws.com" >&2
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
    needed=(IrisDataBucket IrisBatchJobQueue)
    web=yes
    [[ -z $deployed ]] || web=$(about "$stack" "Parameters[?ParameterKey=='WebClient'].ParameterValue | [0]")
    for parameter in "${parameters[@]}"; do
        [[ $parameter != WebClient=* ]] || web=${parameter#*=}
    done
    [[ $web == no ]] || needed+=(IrisUserPoolId)
    exports=$(aws cloudformation list-exports --output text --query 'Exports[].Name')
    for name in "${needed[@]}"; do
        [[ " ${exports//[$'\t\n']/ } " == *" $name "* ]] || fail "no stack here exports $name; is this the right \
region? Without a present stack: infra/deploy.sh whole. Without a web client: WebClient=no"
    done
    # What the user pool has already is kept, and only what is missing is made.
    if [[ $web != no && -z $deployed ]]; then
        pool=$(aws cloudformation list-exports --output text --query "Exports[?Name=='IrisUserPoolId'].Value | [0]")
        domain=$(aws cognito-idp describe-user-pool --user-pool-id "$pool" --output text \
            --query "UserPool.CustomDomain || UserPool.Domain")
        if ! is_set SignInPages; then
            if [[ $domain == None ]]; then
                pages=$(aws cognito-idp describe-user-pool --user-pool-id "$pool" --output text \
                    --query "UserPool.UserPoolTier")
            else
                pages=$(aws cognito-idp describe-user-pool-domain --domain "$domain" --output text \
                    --query "DomainDescription.ManagedLoginVersion")
            fi
            [[ $pages == @(2|ESSENTIALS|PLUS) ]] || parameters+=(SignInPages=classic)
        fi
        if ! is_set SignInUrl; then
            case $domain in
            None) ;;
            *.*) parameters+=("SignInUrl=https://$domain") ;;
            *) parameters+=("SignInUrl=https://$domain.auth.${pool%%_*}.amazoncognito.com") ;;
            esac
        fi
        if ! is_set UserGroups; then
            count=$(aws cognito-idp list-groups --user-pool-id "$pool" --output text \
                --query "length(Groups[?GroupName=='admin' || GroupName=='viewer'])")
            case $count in
            0) ;;
            2) parameters+=(UserGroups=keep) ;;
            *) fail "the user pool $pool has one of the groups admin and viewer; make the other one (aws cognito-idp \
create-group --user-pool-id $pool --group-name NAME), then again" ;;
            esac
        fi
    fi
fi

if [[ -z $deployed ]]; then
    offered=$(infra/offered.sh "$mode" "${parameters[@]}") # apart: a failure in <() would not be seen
    while IFS= read -r parameter; do
        [[ -z $parameter ]] || parameters+=("$parameter")
    done <<<"$offered"
fi

run() { # does it, or says it
    if [[ -n $dry ]]; then
        printf '+'
        printf ' %q' "$@"
        echo
    else
        "$@"
    fi
}

deploy() { # PARAMETER=VALUE ...
    run sam deploy --template-file .aws-sam/build/template.yaml --stack-name "$stack" --resolve-s3 \
        --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --no-fail-on-empty-changeset --no-confirm-changeset \
        --tags Application=iris-oculus --parameter-overrides "$@"
}

run sam build --template-file infra/template.yaml --build-dir .aws-sam/build
if [[ -z $deployed ]] && ! is_set Protected; then
    # Two steps: what is protected against deletion could not be removed when the creation fails, and is in the way then.
    deploy "${parameters[@]}" Protected=no
    deploy "${parameters[@]}" Protected=yes
else
    deploy "${parameters[@]}"
fi
run aws cloudformation set-stack-policy --stack-name "$stack" --stack-policy-body file://infra/stack-policy.json
[[ -n $dry ]] || echo "next: infra/build-and-push.sh --stack $stack, then iris config from-stack $stack --out iris.toml"
