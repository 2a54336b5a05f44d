#!/usr/bin/env bash
# Says which machine types and zones a new stack can have in a region: as parameters of the template, one a line.
#
#   infra/offered.sh whole|plug-in [PARAMETER=VALUE ...]
#
# Batch makes no compute environment of a type that the region lacks, and most regions lack one. Of the template's
# own types those that EC2 offers are kept; types that are named have to be there. The zones are all those that have
# one of the types with GPUs, or of mode plug-in one without. deploy.sh asks it before it makes a stack.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "deploy: $1" >&2
    exit 1
}

mode=$1
shift
named=("$@")

value() { # PARAMETER: what was named, else the template's own
    local parameter
    for parameter in "${named[@]}"; do
        [[ $parameter != "$1="* ]] || { echo "${parameter#*=}" && return; }
    done
    sed -n "/^  $1:/,/Default:/s/^ *Default: *\"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" infra/template.yaml
}

is_named() {
    [[ " ${named[*]} " == *" $1="* ]]
}

region=${AWS_REGION:-this region}
types=''
[[ $mode != whole ]] || types+=$(value SpotInstanceTypes),$(value OnDemandInstanceTypes)
[[ $(value CpuFallback) != yes ]] || types+=${types:+,}$(value CpuInstanceTypes)
[[ -n $types ]] || exit 0

offers=$(aws ec2 describe-instance-type-offerings --location-type availability-zone --output text \
    --filters "Name=instance-type,Values=$types" \
    --query "InstanceTypeOfferings[].join(':', [InstanceType, Location])")
offers=" ${offers//[$'\t\n']/ } " # TYPE:ZONE for each type and each zone that has it

zones=()
keep() { # PARAMETER WAY-OUT: says what there is of its types, and puts the zones aside
    local wanted type kept='' offer zone
    wanted=$(value "$1")
    for type in ${wanted//,/ }; do
        if [[ $offers == *" $type:"* ]]; then
            kept+=${kept:+,}$type
        elif is_named "$1"; then
            fail "$region has no machines of the type $type, which $1 names; leave it out there"
        fi
    done
    [[ -n $kept ]] || fail "$region has none of the machine types $wanted ($1); $2"
    [[ $kept == "$wanted" ]] || echo "$1=$kept"
    for offer in $offers; do
        zone=${offer#*:}
        [[ ",$kept," != *",${offer%%:*},"* || " ${zones[*]} " == *" $zone "* ]] && continue
        [[ ! $zone =~ ^[a-z]+(-[a-z]+)+-[0-9]+[a-z]$ ]] || zones+=("$zone") # local zones have longer names
    done
}

if [[ $mode == whole ]]; then
    keep SpotInstanceTypes "take another region, or name types with one GPU and 16 GiB that it has"
    keep OnDemandInstanceTypes "name such types with 4 or 8 vCPUs that it has"
fi
with_gpus=("${zones[@]}")
if [[ $(value CpuFallback) == yes ]]; then
    keep CpuInstanceTypes "name types with 8 vCPUs and 32 GiB that it has, or CpuFallback=no"
fi
((${#with_gpus[@]} < 2)) || zones=("${with_gpus[@]}") # two there have to be
mapfile -t -n 6 zones < <(printf '%s\n' "${zones[@]}" | sort)
while ((${#zones[@]} < 6)); do zones+=(-); done
is_named Zones || (IFS=, && echo "Zones=${zones[*]}")
