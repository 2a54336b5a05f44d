"""The job queues of AWS Batch: their environments, the job definition, its image, and EC2's quotas."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from botocore.exceptions import ClientError

from gateway.adapters.aws.batch_readings import BatchReader, DefinitionReading, EnvironmentReading
from gateway.adapters.aws.machines import (
    GPU_TYPES,
    grant_disk_key,
    offers_in_words,
    update_image,
    update_types,
)
from gateway.adapters.aws.refusals import asking, code_of
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.aws.waiting import environment_trouble, queue_trouble, quota_too_small, too_small
from gateway.adapters.checks import Check, Verdict, until_refused
from gateway.adapters.queue import Waiting

_ECR: Final = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)
_HAS_GPU: Final = re.compile(r"(g\d|gr\d|p\d)")
_WITH_4_GIB_A_VCPU: Final = re.compile(r"(g4dn|g5|g6)\.")
MIB_A_VCPU: Final = 4096
DISKS: Final = "queue disks"


@dataclass(frozen=True)
class WantedQueue:
    """A job queue with the definition of the jobs that go there.

    Parameters
    ----------
    key
        What the queue is called in the configuration: `queue`, `queue.fallback`.
    """

    key: str
    job_queue: str
    job_definition: str


def batch(session: AwsSession, wanted: WantedQueue) -> Iterator[Check]:
    """Everything that one job queue needs to run a job."""
    reader = BatchReader(session)
    definitions: list[DefinitionReading] = []
    yield from until_refused(f"{wanted.key} definition", _definition(reader, wanted, definitions))
    for definition in definitions:
        yield from until_refused(f"{wanted.key} image", _image(session, wanted, definition))
    environments: list[EnvironmentReading] = []
    yield from until_refused(f"{wanted.key} job queue", _queue(reader, wanted, environments))
    for environment in environments:
        name = f"{wanted.key} environment {environment.name}"
        yield from until_refused(name, _environment(name, environment, definitions))
        machines = f"{wanted.key} machines of {environment.name}"
        yield from until_refused(machines, _machines(reader, machines, environment), Verdict.WARNING)
        yield from _system(f"{wanted.key} system of {environment.name}", environment)
        for definition in definitions:
            quota = f"{wanted.key} quota for {environment.name}"
            yield from until_refused(quota, _quota(reader, quota, environment, definition), Verdict.WARNING)


def _definition(reader: BatchReader, wanted: WantedQueue, found: list[DefinitionReading]) -> Iterator[Check]:
    name = f"{wanted.key} definition"
    definition = reader.definition(wanted.job_definition)
    if definition is None:
        finding = f"there is no active job definition {wanted.job_definition}"
        yield Check(name, Verdict.FAILED, finding, "aws batch describe-job-definitions --status ACTIVE")
        return
    found.append(definition)
    size = f"{definition.vcpus:g} vCPUs, {definition.memory_mib} MiB, {definition.gpus} GPU"
    yield Check(name, Verdict.OK, f"{definition.name}:{definition.revision} asks for {size}")


def _queue(reader: BatchReader, wanted: WantedQueue, found: list[EnvironmentReading]) -> Iterator[Check]:
    name = f"{wanted.key} job queue"
    queue = reader.queue(wanted.job_queue)
    if queue is None:
        finding = f"there is no job queue {wanted.job_queue}"
        yield Check(name, Verdict.FAILED, finding, "aws batch describe-job-queues; look at aws.region")
        return
    trouble = queue_trouble(queue)
    yield _judged(name, trouble, f"{queue.name} is enabled and valid")
    found += reader.environments(queue.environments)
    missing = set(queue.environments) - {each.name for each in found}
    if missing or not queue.environments:
        finding = f"{queue.name} has no compute environment {', '.join(sorted(missing))}".rstrip()
        yield Check(
            f"{wanted.key} environments",
            Verdict.FAILED,
            finding,
            f"aws batch describe-job-queues --job-queues {queue.name}",
        )


def _environment(
    name: str, environment: EnvironmentReading, definitions: list[DefinitionReading]
) -> Iterator[Check]:
    trouble = environment_trouble([environment])
    for definition in definitions:
        trouble = trouble or too_small([environment], definition) or _unfit(environment, definition)
    most = f"at most {environment.max_vcpus} vCPUs of {', '.join(environment.instance_types) or 'any type'}"
    yield _judged(name, trouble, f"is enabled and valid, {most}")


def _machines(reader: BatchReader, name: str, environment: EnvironmentReading) -> Iterator[Check]:
    """Whether the region has its machine types, and in how many zones."""
    types = tuple(each for each in environment.instance_types if "." in each)  # families are Batch's to know
    if not types:
        return
    offered = reader.offered(types)
    lacking = [each for each in types if each not in offered]
    if not offered:
        finding = f"the region has none of its machine types ({', '.join(types)})"
        yield Check(name, Verdict.FAILED, finding, "name types that it has, or take another region")
    elif lacking:
        finding = f"the region has no {', '.join(lacking)}; it has {offers_in_words(offered)}"
        yield Check(name, Verdict.WARNING, finding, update_types(environment.name, tuple(offered)))
    else:
        yield Check(name, Verdict.OK, offers_in_words(offered))


def _system(name: str, environment: EnvironmentReading) -> Iterator[Check]:
    """Whether AWS has a newer image for its machines, with what was mended since."""
    if environment.is_image_latest:
        yield Check(name, Verdict.OK, "its machines start from AWS's latest image")
    elif environment.is_image_latest is not None:
        finding = "AWS has a newer image (AMI) for its machines than the one that they start from"
        yield Check(name, Verdict.WARNING, finding, update_image(environment.name))


def disks(session: AwsSession) -> Iterator[Check]:
    """With which key the machines' disks are sealed."""
    if not BatchReader(session).has_own_disk_key():
        yield Check(DISKS, Verdict.OK, "are sealed with AWS's own key")
        return
    finding = (
        "are sealed with a KMS key of the account's own; where Auto Scaling and EC2 Spot may not use it, jobs"
        " stay RUNNABLE for ever"
    )
    yield Check(DISKS, Verdict.WARNING, finding, f"once, if it was not done: {grant_disk_key()}")


def _unfit(environment: EnvironmentReading, definition: DefinitionReading) -> Waiting | None:
    """No machine type with a GPU, or none with so much memory."""
    types = environment.instance_types
    fix = update_types(environment.name, GPU_TYPES)
    if definition.gpus and types and not any(map(_HAS_GPU.match, types)):
        sentence = f"the job asks for a GPU, and its machine types have none ({', '.join(types)})"
        return Waiting("no_gpu", sentence, fix)
    vcpus = environment.vcpus_of_machine(definition.vcpus)
    known = bool(types) and all(map(_WITH_4_GIB_A_VCPU.match, types))
    if known and vcpus is not None and definition.memory_mib >= vcpus * MIB_A_VCPU:
        sentence = (
            f"the job asks for {definition.memory_mib} MiB, and its smallest machine that fits has"
            f" {vcpus * MIB_A_VCPU:g} MiB, of which the system keeps a part"
        )
        return Waiting("job_too_large", sentence, "ask for less memory in the job definition")
    return None


def _quota(
    reader: BatchReader, name: str, environment: EnvironmentReading, definition: DefinitionReading
) -> Iterator[Check]:
    code = environment.quota_code
    if not code:
        finding = f"which quota {environment.name} counts against is not known"
        yield Check(
            name, Verdict.WARNING, finding, "aws service-quotas list-service-quotas --service-code ec2"
        )
        return
    quota = reader.quota(code)
    needed = environment.vcpus_of_machine(definition.vcpus) or definition.vcpus
    counted = f"{quota:g} vCPUs of {environment.quota_counts}"
    if quota < needed:
        yield _judged(name, quota_too_small(environment, quota, needed), "")
    elif quota < environment.max_vcpus:
        short = quota_too_small(environment, quota, environment.max_vcpus)
        finding = f"{counted}, and {environment.name} might use {environment.max_vcpus}"
        yield Check(name, Verdict.WARNING, finding, short.fix)
    else:
        yield Check(name, Verdict.OK, counted)


def _image(session: AwsSession, wanted: WantedQueue, definition: DefinitionReading) -> Iterator[Check]:
    name = f"{wanted.key} image"
    parts = _ECR.fullmatch(definition.image)
    if parts is None:
        finding = "the job definition's image is not in ECR, so whether it is there is not known"
        yield Check(name, Verdict.WARNING, finding, "see that the machines can pull it")
        return
    there = replace(session, region=parts["region"])
    wish, said = (
        ({"imageDigest": parts["digest"]}, f"@{parts['digest'][:19]}")
        if parts["digest"]
        else ({"imageTag": parts["tag"] or "latest"}, f":{parts['tag'] or 'latest'}")
    )
    with asking("ecr:DescribeImages", f"the ECR repository {parts['repository']}"):
        try:
            there.ecr().describe_images(
                registryId=parts["registry"],
                repositoryName=parts["repository"],
                imageIds=[wish],  # type: ignore[list-item]  # its keys are not literals
            )
        except ClientError as error:
            if code_of(error) != "ImageNotFoundException":
                raise
            finding = f"there is no image {parts['repository']}{said} in ECR"
            yield Check(name, Verdict.FAILED, finding, "push it, or correct the job definition's image")
            return
    yield Check(name, Verdict.OK, f"{parts['repository']}{said} is in ECR")


def _judged(name: str, trouble: Waiting | None, fine: str) -> Check:
    if trouble is None:
        return Check(name, Verdict.OK, fine)
    return Check(name, Verdict.FAILED, trouble.sentence, trouble.fix or "see what it says")
