"""Machines of compute environments: commands about their types, and about the key that seals their disks.

A key of the account's own for disks has to be granted to the roles with which EC2 starts machines ("Required
AWS KMS key policy for use with encrypted volumes", Amazon EC2 Auto Scaling user guide); else they end as soon
as they are started, and jobs stay RUNNABLE for ever without a reason.
"""

from collections.abc import Mapping
from typing import Final

GPU_TYPES: Final = ("g4dn.xlarge", "g5.xlarge", "g6.xlarge")
"""Those with one GPU and 16 GiB; few regions have all of them."""
_STARTERS: Final = (
    "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling spot.amazonaws.com/AWSServiceRoleForEC2Spot"
)
_NEEDED: Final = (
    "Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey"
    " CreateGrant"
)


def update_types(environment: str, instance_types: tuple[str, ...]) -> str:
    """The command that gives a compute environment these machine types."""
    return (
        f"aws batch update-compute-environment --compute-environment {environment}"
        f" --compute-resources instanceTypes={','.join(instance_types)}"
    )


def update_image(environment: str) -> str:
    """The command that has new machines of a compute environment start from the newest of AWS's images."""
    return (
        f"aws batch update-compute-environment --compute-environment {environment}"
        " --compute-resources updateToLatestImageVersion=true"
    )


def grant_disk_key() -> str:
    """The command that lets machines be started with disks that a key of the account's own seals."""
    account = "$(aws sts get-caller-identity --query Account --output text)"  # answers show none
    key = "$(aws ec2 get-ebs-default-kms-key-id --query KmsKeyId --output text)"
    return (
        f"for role in {_STARTERS}; do aws kms create-grant --key-id {key} --grantee-principal"
        f" arn:aws:iam::{account}:role/aws-service-role/$role --operations {_NEEDED}; done"
    )


def offers_in_words(offered: Mapping[str, tuple[str, ...]]) -> str:
    """As "g4dn.xlarge in 3 zones, g5.xlarge in 1 zone"."""
    return ", ".join(
        f"{name} in {len(zones)} zone{'' if len(zones) == 1 else 's'}" for name, zones in offered.items()
    )
