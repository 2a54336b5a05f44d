# shellcheck shell=bash
# For scripts that look at a stack and change one of its parameters: they have set $stack, and $dry where AWS is only
# looked at; what would be done is printed then.
# shellcheck disable=SC2154

run() { # does it, or says it
    if [[ -n $dry ]]; then
        printf '+'
        printf ' %q' "$@"
        echo
    else
        "$@" >&2
    fi
}

of_stack() { # QUERY
    aws cloudformation describe-stacks --stack-name "$stack" --output text --query "Stacks[0].$1"
}

parameter() { # NAME
    of_stack "Parameters[?ParameterKey=='$1'].ParameterValue | [0]"
}

set_parameter() { # NAME VALUE: all others stay as they are
    local parameters=("ParameterKey=$1,ParameterValue=$2") each
    for each in $(of_stack 'Parameters[].ParameterKey'); do
        [[ $each == "$1" ]] || parameters+=("ParameterKey=$each,UsePreviousValue=true")
    done
    run aws cloudformation update-stack --stack-name "$stack" --use-previous-template \
        --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --parameters "${parameters[@]}"
    run aws cloudformation wait stack-update-complete --stack-name "$stack"
}
