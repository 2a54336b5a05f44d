"""moto's server with the one question that it does not answer: which key seals disks by default."""

import sys

from moto.core.responses import ActionResult
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.server import main

AWS_OWN = "alias/aws/ebs"


def get_ebs_default_kms_key_id(self: ElasticBlockStore) -> ActionResult:
    """AWS's own, unless `ModifyEbsDefaultKmsKeyId` said another one."""
    return ActionResult({"KmsKeyId": self.ec2_backend.default_kms_key_id or AWS_OWN})


if __name__ == "__main__":
    ElasticBlockStore.get_ebs_default_kms_key_id = get_ebs_default_kms_key_id
    main(sys.argv[1:])
