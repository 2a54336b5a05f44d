"""How AWS Batch is set up, read and put into a few fields: queue, environments, definition, EC2 quota.

The explanation of a wait (`waiting.py`) and the doctor look at the same things, and both get them here. Each
reading asks once; what AWS refuses is raised in our words.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from .refusals import asking, code_of, refusal
from .session import AwsSession

if TYPE_CHECKING:
    from mypy_boto3_batch.literals import JobStatusType
    from mypy_boto3_batch.type_defs import ComputeEnvironmentDetailTypeDef, JobDefinitionTypeDef

SPOT_G: Final = "L-3819A6DF"
"""EC2's quota "All G and VT Spot Instance Requests", in vCPUs; 0 in a new account."""
ON_DEMAND_G: Final = "L-DB2E81BA"
"""EC2's quota "Running On-Demand G and VT instances", in vCPUs; 0 in a new account."""
SPOT_STANDARD: Final = "L-34B43A08"
"""EC2's quota "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", in vCPUs."""
ON_DEMAND_STANDARD: Final = "L-1216C47A"
"""EC2's quota "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", in vCPUs."""
_QUOTAS: Final = {
    ("SPOT", "g"): (SPOT_G, "Spot machines of the families G and VT"),
    ("EC2", "g"): (ON_DEMAND_G, "on-demand machines of the families G and VT"),
    ("SPOT", "standard"): (SPOT_STANDARD, "Spot machines of the standard families"),
    ("EC2", "standard"): (ON_DEMAND_STANDARD, "on-demand machines of the standard families"),
}
_G_FAMILIES: Final = frozenset({"g", "gr", "vt"})
_STANDARD_FAMILIES: Final = frozenset({"optimal", "default", *"acdhimrtz"})
_FAMILY: Final = re.compile(r"[a-z]+")
_AWS_OWN_DISK_KEY: Final = "alias/aws/ebs"
_SIZE: Final = re.compile(r"\.(?:(medium)|(large)|(\d*)xlarge)$")


@dataclass(frozen=True)
class QueueReading:
    """A job queue."""

    name: str
    is_enabled: bool
    is_valid: bool
    environments: tuple[str, ...]
    """Names, in the order in which they are tried."""
    has_fair_share: bool
    """A scheduling policy shares it out: jobs then need a share identifier, and may have a priority."""


@dataclass(frozen=True)
class EnvironmentReading:
    """A compute environment."""

    name: str
    is_enabled: bool
    is_valid: bool
    status_reason: str
    """Batch's own text; never shown, since it holds names of roles and networks."""
    kind: str
    """`SPOT`, `EC2` (on-demand), `FARGATE`, `FARGATE_SPOT`; empty where Batch does not manage it."""
    max_vcpus: int
    desired_vcpus: int
    instance_types: tuple[str, ...]
    is_image_latest: bool | None = None
    """Whether its machines start from the newest of AWS's images; None where Batch does not say: before the
    first machine, and with an image of one's own."""

    @property
    def quota_code(self) -> str:
        """The EC2 quota that its machines count against; empty where we know of none."""
        return self._quota[0]

    @property
    def quota_counts(self) -> str:
        """What that quota counts: "Spot machines of the families G and VT"."""
        return self._quota[1]

    @property
    def _quota(self) -> tuple[str, str]:
        families = {found[0] for name in self.instance_types if (found := _FAMILY.match(name))}
        family = "g" if families & _G_FAMILIES else "standard" if families & _STANDARD_FAMILIES else ""
        return _QUOTAS.get((self.kind, family), ("", ""))

    def vcpus_of_machine(self, vcpus: float) -> float | None:
        """The vCPUs of its smallest machine type that has so many; None: no type has.

        Where a type's name does not tell its size, it is taken to have just as many.
        """
        sizes = [vcpus_of_type(name) for name in self.instance_types]
        if not sizes or None in sizes:
            return vcpus
        return min((size for size in sizes if size is not None and size >= vcpus), default=None)


@dataclass(frozen=True)
class DefinitionReading:
    """A job definition that may be used."""

    name: str
    revision: int
    image: str
    vcpus: float
    memory_mib: int
    gpus: int


class BatchReader:
    """Reads; every method raises `Away` or `Permanent` with the action's name."""

    def __init__(self, session: AwsSession) -> None:
        self._batch = session.batch()
        self._quotas = session.service_quotas()
        self._ec2 = session.ec2()

    def queue(self, name: str) -> QueueReading | None:
        """A job queue; None: there is none of that name."""
        with asking("batch:DescribeJobQueues", f"the job queue {name}"):
            found = self._batch.describe_job_queues(jobQueues=[name])["jobQueues"]
        if not found:
            return None
        queue = found[0]
        order = sorted(queue["computeEnvironmentOrder"], key=lambda each: each["order"])
        return QueueReading(
            name=queue["jobQueueName"],
            is_enabled=queue["state"] == "ENABLED",
            is_valid=queue.get("status", "VALID") != "INVALID",
            environments=tuple(each["computeEnvironment"].rpartition("/")[2] for each in order),
            has_fair_share=bool(queue.get("schedulingPolicyArn")),
        )

    def environments(self, names: Sequence[str]) -> tuple[EnvironmentReading, ...]:
        """Compute environments, in the order of the names; those that are gone are left out."""
        if not names:
            return ()
        with asking("batch:DescribeComputeEnvironments", f"the compute environment {names[0]}"):
            answer = self._batch.describe_compute_environments(computeEnvironments=list(names))
        found = [_environment(each) for each in answer["computeEnvironments"]]
        return tuple(sorted(found, key=lambda each: names.index(each.name)))

    def definition(self, name: str) -> DefinitionReading | None:
        """A job definition: the revision that is named, else the latest; None: none is active."""
        short = name.rpartition("/")[2]
        with asking("batch:DescribeJobDefinitions", f"the job definition {short}"):
            if ":" in short:
                pages = [self._batch.describe_job_definitions(jobDefinitions=[short])]
            else:
                paginator = self._batch.get_paginator("describe_job_definitions")
                pages = list(paginator.paginate(jobDefinitionName=short, status="ACTIVE"))
        found = [each for page in pages for each in page["jobDefinitions"] if each["status"] == "ACTIVE"]
        return _definition(max(found, key=lambda each: each["revision"])) if found else None

    def quota(self, code: str) -> float:
        """How many vCPUs the account may have at once under one of EC2's quotas."""
        try:
            try:
                answer: Any = self._quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)
            except ClientError as error:
                if code_of(error) != "NoSuchResourceException":  # it was never changed from its default
                    raise
                answer = self._quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)
        except (ClientError, BotoCoreError) as error:
            raise refusal(error, "servicequotas:GetServiceQuota", f"the EC2 quota {code}") from None
        return float(answer["Quota"]["Value"])

    def offered(self, instance_types: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The zones of the region that have each of these machine types; types that it lacks are left out."""
        with asking("ec2:DescribeInstanceTypeOfferings", "machine types"):
            pages = self._ec2.get_paginator("describe_instance_type_offerings").paginate(
                LocationType="availability-zone",
                Filters=[{"Name": "instance-type", "Values": list(instance_types)}],
            )
            offers = [
                (str(each["InstanceType"]), each["Location"])
                for page in pages
                for each in page["InstanceTypeOfferings"]
            ]
        zones = {name: sorted(zone for offered, zone in offers if offered == name) for name in instance_types}
        return {name: tuple(found) for name, found in zones.items() if found}

    def has_own_disk_key(self) -> bool:
        """Whether a KMS key of the account's own seals disks by default, and not AWS's."""
        with asking("ec2:GetEbsDefaultKmsKeyId", "the key of disks"):
            return not self._ec2.get_ebs_default_kms_key_id()["KmsKeyId"].endswith(_AWS_OWN_DISK_KEY)

    def line(self, queue: str, created_at_ms: int) -> tuple[int, int]:
        """How many jobs of a queue that came earlier wait, too, and how many have a machine."""
        waiting = self._created(queue, ("SUBMITTED", "PENDING", "RUNNABLE"))
        at_work = self._created(queue, ("STARTING", "RUNNING"))
        return sum(each < created_at_ms for each in waiting), len(at_work)

    def _created(self, queue: str, statuses: Sequence["JobStatusType"]) -> list[int]:
        """When the jobs in these states were created."""
        found: list[int] = []
        with asking("batch:ListJobs", f"the job queue {queue}"):
            paginator = self._batch.get_paginator("list_jobs")
            for status in statuses:
                for page in paginator.paginate(jobQueue=queue, jobStatus=status):
                    found += [each.get("createdAt", 0) for each in page["jobSummaryList"]]
        return found


def vcpus_of_type(instance_type: str) -> int | None:
    """The vCPUs of an EC2 instance type by its size; None where its name does not tell (`optimal`)."""
    size = _SIZE.search(instance_type)
    if size is None:
        return None
    medium, large, times = size.groups()
    return 1 if medium else 2 if large else 4 * int(times or 1)


def _environment(found: "ComputeEnvironmentDetailTypeDef") -> EnvironmentReading:
    resources: Any = found.get("computeResources", {})
    images = [each.get("batchImageStatus") for each in resources.get("ec2Configuration", ())]
    return EnvironmentReading(
        name=found["computeEnvironmentName"],
        is_enabled=found.get("state", "ENABLED") == "ENABLED",
        is_valid=found.get("status", "VALID") != "INVALID",
        status_reason=found.get("statusReason", ""),
        kind=resources.get("type", ""),
        max_vcpus=int(resources.get("maxvCpus", found.get("unmanagedvCpus", 0))),
        desired_vcpus=int(resources.get("desiredvCpus", 0)),
        instance_types=tuple(resources.get("instanceTypes", ())),
        is_image_latest="UPDATE_AVAILABLE" not in images if any(images) else None,
    )


def _definition(found: "JobDefinitionTypeDef") -> DefinitionReading:
    container: Any = found.get("containerProperties", {})
    needs = {each["type"]: each["value"] for each in container.get("resourceRequirements", [])}
    return DefinitionReading(
        name=found["jobDefinitionName"],
        revision=found["revision"],
        image=container.get("image", ""),
        vcpus=float(needs.get("VCPU", container.get("vcpus", 1))),
        memory_mib=int(needs.get("MEMORY", container.get("memory", 0))),
        gpus=int(needs.get("GPU", 0)),
    )
