"""What the Batch double knows, and how Batch shows it: environments, queues, definitions, jobs, attempts."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"
FINISHED = frozenset({"SUCCEEDED", "FAILED"})
WAITING = frozenset({"SUBMITTED", "PENDING", "RUNNABLE"})
SPOT_G_QUOTA, ON_DEMAND_G_QUOTA = "L-3819A6DF", "L-DB2E81BA"
QUOTA_NAMES = {
    SPOT_G_QUOTA: "All G and VT Spot Instance Requests",
    ON_DEMAND_G_QUOTA: "Running On-Demand G and VT instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
}


def arn(kind: str, name: str) -> str:
    """A Batch resource's ARN."""
    return f"arn:aws:batch:{REGION}:{ACCOUNT}:{kind}/{name}"


def now_ms() -> int:
    """Batch's clock."""
    return time.time_ns() // 1_000_000


@dataclass
class Environment:
    """A compute environment; tests change its fields."""

    name: str
    type: str = "SPOT"
    max_vcpus: int = 16
    desired_vcpus: int = 0
    instance_types: Sequence[str] = ("g4dn.xlarge",)
    state: str = "ENABLED"
    status: str = "VALID"
    status_reason: str = "ComputeEnvironment Healthy"
    image_status: str = ""
    """`LATEST` or `UPDATE_AVAILABLE`; empty until it has had machines."""

    def detail(self) -> dict[str, Any]:
        """As DescribeComputeEnvironments shows it."""
        return {
            "computeEnvironmentName": self.name,
            "computeEnvironmentArn": arn("compute-environment", self.name),
            "ecsClusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{self.name}_Batch",
            "tags": {},
            "type": "MANAGED",
            "state": self.state,
            "status": self.status,
            "statusReason": self.status_reason,
            "computeResources": {
                "type": self.type,
                "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
                "minvCpus": 0,
                "maxvCpus": self.max_vcpus,
                "desiredvCpus": self.desired_vcpus,
                "instanceTypes": list(self.instance_types),
                "ec2Configuration": [
                    {"imageType": "ECS_AL2023_NVIDIA"}
                    | ({"batchImageStatus": self.image_status} if self.image_status else {})
                ],
                "subnets": ["subnet-0123456789abcdef0"],
                "securityGroupIds": ["sg-0123456789abcdef0"],
                "instanceRole": f"arn:aws:iam::{ACCOUNT}:instance-profile/iris-instance",
            },
            "serviceRole": f"arn:aws:iam::{ACCOUNT}:role/iris-batch",
            "containerOrchestrationType": "ECS",
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, self.name)),
        }

    def quota_code(self) -> str:
        """The EC2 quota that its machines count against."""
        return SPOT_G_QUOTA if self.type == "SPOT" else ON_DEMAND_G_QUOTA


@dataclass
class Queue:
    """A job queue; tests change its fields."""

    name: str
    environments: Sequence[str]
    state: str = "ENABLED"
    status: str = "VALID"
    status_reason: str = "JobQueue Healthy"
    scheduling_policy: str = ""

    def detail(self) -> dict[str, Any]:
        """As DescribeJobQueues shows it."""
        policy = {"schedulingPolicyArn": arn("scheduling-policy", self.scheduling_policy)}
        return {
            "jobQueueName": self.name,
            "jobQueueArn": arn("job-queue", self.name),
            "state": self.state,
            "status": self.status,
            "statusReason": self.status_reason,
            "priority": 1,
            "computeEnvironmentOrder": [
                {"order": number, "computeEnvironment": arn("compute-environment", name)}
                for number, name in enumerate(self.environments)
            ],
            "tags": {},
            "jobStateTimeLimitActions": [],
            **(policy if self.scheduling_policy else {}),
        }


@dataclass
class Definition:
    """A job definition, revision 1; its command is run with the overriding command as arguments."""

    name: str
    command: Sequence[str]
    vcpus: int = 4
    memory_mib: int = 15000
    gpus: int = 1
    image: str = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/iris-totalsegmentator-batch:latest"
    status: str = "ACTIVE"
    pull_error: str = ""
    """What pulling the image ends with; empty: it is there."""

    @property
    def arn(self) -> str:
        """With its revision."""
        return arn("job-definition", f"{self.name}:1")

    def requirements(self) -> list[dict[str, str]]:
        """Its resourceRequirements."""
        gpu = [{"type": "GPU", "value": str(self.gpus)}] if self.gpus else []
        return [
            {"type": "VCPU", "value": str(self.vcpus)},
            {"type": "MEMORY", "value": str(self.memory_mib)},
            *gpu,
        ]

    def detail(self) -> dict[str, Any]:
        """As DescribeJobDefinitions shows it."""
        return {
            "jobDefinitionName": self.name,
            "jobDefinitionArn": self.arn,
            "revision": 1,
            "status": self.status,
            "type": "container",
            "parameters": {},
            "containerProperties": {
                "image": self.image,
                "command": [],
                "volumes": [],
                "environment": [],
                "mountPoints": [],
                "ulimits": [],
                "resourceRequirements": self.requirements(),
                "secrets": [],
            },
            "tags": {},
            "platformCapabilities": ["EC2"],
            "containerOrchestrationType": "ECS",
        }


@dataclass
class Attempt:
    """One time that a job had a machine."""

    number: int
    instance_id: str = field(default_factory=lambda: "i-" + uuid.uuid4().hex[:17])
    container_instance: str = field(default_factory=lambda: uuid.uuid4().hex)
    task: str = field(default_factory=lambda: uuid.uuid4().hex)
    log_stream: str = ""
    started_at: int | None = None
    stopped_at: int | None = None
    exit_code: int | None = None
    reason: str = ""
    status_reason: str = ""

    def container(self) -> dict[str, Any]:
        """As AttemptContainerDetail; what is not known is left out."""
        ecs = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
        return _known(
            containerInstanceArn=f"{ecs}:container-instance/iris_Batch/{self.container_instance}",
            taskArn=f"{ecs}:task/iris_Batch/{self.task}",
            exitCode=self.exit_code,
            reason=self.reason or None,
            logStreamName=self.log_stream or None,
            networkInterfaces=[],
        )

    def detail(self) -> dict[str, Any]:
        """As AttemptDetail."""
        return _known(
            container=self.container(),
            startedAt=self.started_at,
            stoppedAt=self.stopped_at,
            statusReason=self.status_reason or None,
            taskProperties=[],
        )


@dataclass
class BatchJob:
    """One job, from SubmitJob on."""

    request: dict[str, Any]
    queue: Queue
    definition: Definition
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: int = field(default_factory=now_ms)
    status: str = "SUBMITTED"
    status_reason: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    """Those that have ended."""
    current: Attempt | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    is_cancelled: bool = False
    is_terminated: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    listed_from: float = 0.0
    """When ListJobs begins to show it, by time.monotonic()."""

    @property
    def name(self) -> str:
        """Its name, with its case."""
        return str(self.request["jobName"])

    @property
    def arn(self) -> str:
        """Its ARN."""
        return arn("job", self.job_id)

    @property
    def retry_strategy(self) -> dict[str, Any]:
        """With Batch's defaults."""
        given = self.request.get("retryStrategy") or {}
        return {"attempts": given.get("attempts", 1), "evaluateOnExit": given.get("evaluateOnExit", [])}

    @property
    def timeout_s(self) -> float | None:
        """How long one attempt may run."""
        found = (self.request.get("timeout") or {}).get("attemptDurationSeconds")
        return None if found is None else float(found)

    @property
    def overrides(self) -> dict[str, Any]:
        """Its containerOverrides."""
        return self.request.get("containerOverrides") or {}

    def environment(self) -> list[dict[str, str]]:
        """The variables that were given with it."""
        return list(self.overrides.get("environment", []))

    def last_attempt(self) -> Attempt | None:
        """The one that runs, else the last that ran."""
        return self.current or (self.attempts[-1] if self.attempts else None)

    def detail(self, *, event: bool = False) -> dict[str, Any]:
        """As JobDetail; an event names the job among its tags, and does not say who ended it."""
        last = self.last_attempt()
        container = {
            "image": self.definition.image,
            "command": list(self.overrides.get("command", [])),
            "volumes": [],
            "environment": self.environment(),
            "mountPoints": [],
            "ulimits": [],
            **(last.container() if last is not None else {"networkInterfaces": []}),
            "resourceRequirements": self.definition.requirements(),
            "secrets": [],
        }
        ended_by = {"isCancelled": self.is_cancelled, "isTerminated": self.is_terminated}
        return _known(
            jobArn=self.arn,
            jobName=self.name,
            jobId=self.job_id,
            jobQueue=arn("job-queue", self.queue.name),
            status=self.status,
            shareIdentifier=self.request.get("shareIdentifier"),
            schedulingPriority=self.request.get("schedulingPriorityOverride"),
            attempts=[attempt.detail() for attempt in self.attempts],
            statusReason=self.status_reason or None,
            createdAt=self.created_at,
            retryStrategy=self.retry_strategy,
            startedAt=self.started_at,
            stoppedAt=self.stopped_at,
            dependsOn=[],
            jobDefinition=self.definition.arn,
            parameters={},
            container=container,
            timeout=self.request.get("timeout"),
            tags={"resourceArn": self.arn, **self.tags} if event else dict(self.tags),
            propagateTags=bool(self.request.get("propagateTags")),
            platformCapabilities=["EC2"],
            **({} if event else ended_by),
        )

    def summary(self) -> dict[str, Any]:
        """As JobSummary."""
        last = self.last_attempt()
        container = _known(exitCode=last.exit_code, reason=last.reason or None) if last else None
        return _known(
            jobArn=self.arn,
            jobId=self.job_id,
            jobName=self.name,
            createdAt=self.created_at,
            status=self.status,
            statusReason=self.status_reason or None,
            startedAt=self.started_at,
            stoppedAt=self.stopped_at,
            container=container,
            jobDefinition=self.definition.arn,
        )


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
