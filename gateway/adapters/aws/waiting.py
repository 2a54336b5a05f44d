"""Why a job stays RUNNABLE, in plain words, with the command that ends it.

What is certain is looked at first: something switched off or broken, then sizes and quotas that cannot
suffice, then what Batch itself says, then the line of others. A question that AWS refuses weakens the answer
and is named in it; it is never an error.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from gateway.adapters.errors import OutsideError
from gateway.adapters.queue import Waiting

from .batch_readings import (
    ON_DEMAND_G,
    SPOT_G,
    BatchReader,
    DefinitionReading,
    EnvironmentReading,
    QueueReading,
)
from .machines import GPU_TYPES, grant_disk_key, update_types

Found = TypeVar("Found")

_INVALID: Final = (
    (r"launch template", "its launch template cannot be used"),
    (r"security group", "its security group is gone or of another network"),
    (r"subnet", "its subnet is gone or has no free addresses"),
    (r"instance ?profile|instance ?role", "its machines' instance role is wrong or gone"),
    (r"spot ?fleet|iamfleetrole", "its Spot fleet role is wrong or gone"),
    (r"key ?pair", "its key pair is gone"),
    (r"\bami\b|image", "its machine image cannot be used"),
    (
        r"role|assume|not authorized|access denied",
        "Batch's service role is wrong, gone or not allowed enough",
    ),
    (r"internal_error", "Batch has a fault of its own there"),
)
"""What stands in the status reason of an invalid environment, and what that means."""

_LOOK_AT_ENVIRONMENT: Final = "aws batch describe-compute-environments --compute-environments {environment}"
_LOOK_AT_DEFINITION: Final = (
    "aws batch describe-job-definitions --job-definition-name {definition} --status ACTIVE"
)
_UNSURE: Final = frozenset({"capacity", "undetermined", "line", "machine"})
"""Answers that what could not be looked at might have changed."""
_UNEXPLAINED: Final = frozenset({"undetermined", "machine"})
_SAID_BY_BATCH: Final = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": (
        "capacity",
        "AWS has no free machine of the types that compute environment {environment} asks for",
        "",  # more types, where the region has more
    ),
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": (
        "max_vcpus",
        "the job needs more than compute environment {environment} may have at all (maxvCpus)",
        "aws batch update-compute-environment --compute-environment {environment}"
        " --compute-resources maxvCpus=16",
    ),
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": (
        "job_too_large",
        "no machine type of compute environment {environment} has the vCPUs, the memory or the GPU that job"
        " definition {definition} asks for",
        _LOOK_AT_DEFINITION,
    ),
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED": (
        "machine_unsupported",
        "EC2 offers the machines of compute environment {environment} not as they are configured there"
        " (type, zone, image)",
        _LOOK_AT_ENVIRONMENT,
    ),
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": (
        "service_role",
        "Batch's service role may not start machines for compute environment {environment}",
        _LOOK_AT_ENVIRONMENT,
    ),
    "ACTION_REQUIRED": (
        "environment_invalid",
        "Batch says that the compute environments of job queue {queue} are invalid",
        _LOOK_AT_ENVIRONMENT,
    ),
    "UNDETERMINED": (
        "undetermined",
        "the job holds up its queue, and Batch cannot tell why; look whether the machines of compute"
        " environment {environment} start, and whether they reach ECS",
        _LOOK_AT_ENVIRONMENT,
    ),
}
"""Batch's codes: our code, the sentence, the command."""


_NOTHING_WRONG: Final = Waiting(
    "machine", "it waits for a machine, and nothing is wrong as far as can be seen", ""
)


@dataclass(frozen=True)
class Wait:
    """The job that waits."""

    queue: str
    definition: str
    status_reason: str = ""
    created_at_ms: int = 0


def explain(reader: BatchReader, wait: Wait, refused: Sequence[str] = ()) -> Waiting:
    """Find out why a job gets no machine; raises nothing.

    Parameters
    ----------
    refused
        What AWS did not tell before, in sentences.
    """
    return _Inquiry(reader, wait, list(refused)).answer()


@dataclass
class _Inquiry:
    """One look around; what could not be read is remembered."""

    reader: BatchReader
    wait: Wait
    refused: list[str] = field(default_factory=list)

    def answer(self) -> Waiting:
        name = self.wait.queue
        try:
            queue = self.reader.queue(name)
        except OutsideError as error:
            unknown = Waiting("unknown", f"why it waits cannot be found out: {error}", "")
            return self._said_by_batch((), name) or unknown
        if queue is None:
            return Waiting(
                "queue_missing",
                f"there is no job queue {name}; look at queue.job_queue and aws.region",
                "aws batch describe-job-queues",
            )
        environments = self._read(lambda: self.reader.environments(queue.environments)) or ()
        definition = self._read(lambda: self.reader.definition(self.wait.definition))
        reasons = self._reasons(queue, environments, definition)
        found = next((each for each in reasons if each is not None), _NOTHING_WRONG)
        if found.code in _UNEXPLAINED:
            found = self._with_key_of_disks(found)
        if self.refused and found.code in _UNSURE:
            unseen = "; ".join(dict.fromkeys(self.refused))
            return replace(found, sentence=f"{found.sentence} (not everything could be looked at: {unseen})")
        return found

    def _reasons(
        self,
        queue: QueueReading,
        environments: Sequence[EnvironmentReading],
        definition: DefinitionReading | None,
    ) -> Iterator[Waiting | None]:
        """Each reason, in order of certainty; each is looked for only where none before it holds."""
        yield queue_trouble(queue)
        if environments:
            yield environment_trouble(environments)
        usable = [each for each in environments if each.is_enabled and each.is_valid]
        if usable and definition is not None:
            yield too_small(usable, definition)
            yield self._quota_trouble(usable, definition)
        yield self._said_by_batch(usable or environments, queue.name)
        yield self._line(queue.name, usable)

    def _read(self, ask: Callable[[], Found]) -> Found | None:
        try:
            return ask()
        except OutsideError as error:
            self.refused.append(str(error))
            return None

    def _quota_trouble(
        self, usable: Sequence[EnvironmentReading], definition: DefinitionReading
    ) -> Waiting | None:
        """A quota that is too small for one machine, in every environment that could be used."""
        found: Waiting | None = None
        for environment in usable:
            code = environment.quota_code
            quota = self._read(partial(self.reader.quota, code)) if code else None
            needed = environment.vcpus_of_machine(definition.vcpus) or definition.vcpus
            if quota is None or quota >= needed:
                return None
            found = found or quota_too_small(environment, quota, needed)
        return found

    def _said_by_batch(self, environments: Sequence[EnvironmentReading], queue: str) -> Waiting | None:
        said = self.wait.status_reason.partition(" ")[0]
        if said not in _SAID_BY_BATCH:
            return None
        ours, sentence, fix = _SAID_BY_BATCH[said]
        first = environments[0] if environments else None
        if first is None:
            fix = ""
        elif ours == "capacity":
            fix = self._more_types(first)
        names = {
            "environment": first.name if first is not None else f"of job queue {queue}",
            "definition": _plain_name(self.wait.definition),
            "queue": queue,
        }
        return Waiting(ours, sentence.format(**names), fix.format(**names))

    def _more_types(self, environment: EnvironmentReading) -> str:
        """The command for further types with a GPU that the region has; empty where there are none."""
        if environment.quota_code not in (SPOT_G, ON_DEMAND_G):
            return ""
        more = [name for name in GPU_TYPES if name not in environment.instance_types]
        there = self._read(lambda: self.reader.offered(more)) if more else None
        return update_types(environment.name, (*environment.instance_types, *there)) if there else ""

    def _with_key_of_disks(self, found: Waiting) -> Waiting:
        """What nothing explains may be a key of disks that EC2 may not use: machines then end at once."""
        if not self._read(self.reader.has_own_disk_key):
            return found
        sentence = (
            f"{found.sentence}; the machines' disks are sealed with a KMS key of the account's own, and"
            " without a grant for Auto Scaling and EC2 Spot no machine ever starts"
        )
        return replace(found, sentence=sentence, fix=grant_disk_key())

    def _line(self, queue: str, usable: Sequence[EnvironmentReading]) -> Waiting | None:
        """Others came before it, or have all the machines that there may be."""
        before, at_work = self._read(lambda: self.reader.line(queue, self.wait.created_at_ms)) or (0, 0)
        most = sum(each.max_vcpus for each in usable)
        full = at_work > 0 and sum(each.desired_vcpus for each in usable) >= most > 0
        if not before and not full:
            return None
        counts = f"{_jobs(at_work)} at work, {before} in line before it"
        if not full:
            return Waiting("line", f"other jobs come first on job queue {queue} ({counts})", "")
        return Waiting(
            "line",
            f"all {most} vCPUs that job queue {queue} may use are taken ({counts})",
            f"aws batch update-compute-environment --compute-environment {usable[0].name}"
            f" --compute-resources maxvCpus={2 * usable[0].max_vcpus}",
        )


def queue_trouble(queue: QueueReading) -> Waiting | None:
    """What keeps a queue from handing out any job; None: nothing."""
    if not queue.is_enabled:
        return Waiting(
            "queue_disabled",
            f"job queue {queue.name} is disabled",
            f"aws batch update-job-queue --job-queue {queue.name} --state ENABLED",
        )
    if not queue.is_valid:
        return Waiting(
            "queue_invalid",
            f"Batch says that job queue {queue.name} is invalid",
            f"aws batch describe-job-queues --job-queues {queue.name}",
        )
    return None


def environment_trouble(environments: Sequence[EnvironmentReading]) -> Waiting | None:
    """None where at least one can be used."""
    if any(each.is_enabled and each.is_valid for each in environments):
        return None
    for each in environments:
        if not each.is_enabled:
            return Waiting(
                "environment_disabled",
                f"compute environment {each.name} is disabled",
                f"aws batch update-compute-environment --compute-environment {each.name} --state ENABLED",
            )
    first = environments[0]
    return Waiting(
        "environment_invalid",
        f"compute environment {first.name} is invalid: {why_invalid(first.status_reason)}",
        _LOOK_AT_ENVIRONMENT.format(environment=first.name),
    )


def why_invalid(status_reason: str) -> str:
    """Batch's reason why an environment is invalid, in our words and without its names."""
    for pattern, words in _INVALID:
        if re.search(pattern, status_reason, re.IGNORECASE):
            return words
    return "Batch gives a reason that we do not know; the command shows it"


def too_small(usable: Sequence[EnvironmentReading], definition: DefinitionReading) -> Waiting | None:
    """maxvCpus, or every machine type, is too small in every environment that could be used."""
    found: list[Waiting] = []
    for each in usable:
        needed = each.vcpus_of_machine(definition.vcpus)
        if needed is None:
            types = ", ".join(each.instance_types)
            found.append(
                Waiting(
                    "job_too_large",
                    f"job definition {definition.name} asks for {definition.vcpus:g} vCPUs, more than any"
                    f" machine type of compute environment {each.name} has ({types})",
                    _LOOK_AT_DEFINITION.format(definition=definition.name),
                )
            )
        elif each.max_vcpus < needed:
            found.append(
                Waiting(
                    "max_vcpus",
                    f"compute environment {each.name} may have {each.max_vcpus} vCPUs at most (maxvCpus), and"
                    f" one machine for the job has {needed:g}",
                    f"aws batch update-compute-environment --compute-environment {each.name}"
                    f" --compute-resources maxvCpus={max(16, int(needed))}",
                )
            )
    return found[0] if len(found) == len(usable) else None


def quota_too_small(environment: EnvironmentReading, quota: float, needed: float) -> Waiting:
    """Say that the account may have fewer vCPUs than one machine has, and how it may have more."""
    account = "; a new account begins with 0" if quota == 0 else ""
    return Waiting(
        "quota",
        f"this AWS account may have {quota:g} vCPUs of {environment.quota_counts}, and one machine for the"
        f" job has {needed:g}{account}",
        "aws service-quotas request-service-quota-increase --service-code ec2"
        f" --quota-code {environment.quota_code} --desired-value {max(environment.max_vcpus, int(needed))}",
    )


def _plain_name(definition: str) -> str:
    """A job definition's name without ARN and revision."""
    return definition.rpartition("/")[2].partition(":")[0]


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"
