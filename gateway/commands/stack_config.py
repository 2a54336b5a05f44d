"""`iris config from-stack`: a configuration, made of what a stack of infra/template.yaml says of itself.

It holds what AWS decides: where job folders, queues, news and the mirror are. PACS and rules come by hand.
"""

import json
from collections.abc import Mapping
from typing import Final

NEEDED: Final = (
    *("SiteName", "EngineVersion", "Bucket", "Prefix", "JobQueue", "JobDefinition"),
    *("NewsQueueUrl", "StudiesTable", "MetricNamespace"),
)
"""The outputs without which there is no configuration; the template's tests compare."""
OPTIONAL: Final = ("BucketKey", "FastJobQueue", "CpuJobQueue", "CpuJobDefinition", "FallbackAfterSeconds")
"""Outputs that a stack may lack: a key for the bucket, a fast lane, a queue without GPUs, working hours."""


class StackError(Exception):
    """No configuration can be made of this stack; one sentence that says why and what to do."""


def config_of_stack(stack: str, region: str = "", second: str = "") -> str:
    """The configuration, as TOML.

    Parameters
    ----------
    region
        Where the stack is; empty: where boto3's own settings say.
    second
        `REGION/STACK` of another, whose machines are for what gets none here; empty: there is none.

    Raises
    ------
    StackError
    """
    region, outputs = _outputs(stack, region)
    if not second:
        return config_text(stack, region, outputs)
    there, _, name = second.partition("/")
    if not name or there == region:
        raise StackError("name the second region and its stack as REGION/STACK; it is not the first region")
    there, others = _outputs(name, there)
    if others["EngineVersion"] != outputs["EngineVersion"]:
        raise StackError(
            f"{name} in {there} has the engine's version {others['EngineVersion']}, {stack} in {region}"
            f" {outputs['EngineVersion']}: a job would be another one there; bring both to one version"
        )
    return config_text(stack, region, outputs, (there, others))


def _outputs(stack: str, region: str) -> tuple[str, Mapping[str, str]]:
    """Where a stack is, and what it says of itself."""
    try:
        from gateway.adapters.aws.session import AwsSession, default_region
        from gateway.adapters.aws.stack import stack_outputs
        from gateway.adapters.errors import OutsideError
    except ModuleNotFoundError:
        raise StackError("boto3 is not installed; pip install boto3") from None
    region = region or default_region()
    if not region:
        raise StackError("where the stack is, is not known; name its region: --region eu-central-1")
    try:
        outputs = stack_outputs(AwsSession(region), stack)
    except OutsideError as error:
        raise StackError(str(error)) from None
    except ValueError:  # botocore's, of a name that can be none of a region
        raise StackError(f"{region} is no region that AWS knows; correct --region") from None
    missing = [name for name in NEEDED if not outputs.get(name)]
    if missing:
        raise StackError(
            f"the stack {stack} does not say {', '.join(missing)}; it is not made of infra/template.yaml, or"
            " of an older one: update it, or deploy the template beside it in mode plug-in (infra/README.md)"
        )
    return region, outputs


def config_text(
    stack: str, region: str, outputs: Mapping[str, str], second: tuple[str, Mapping[str, str]] | None = None
) -> str:
    """The same, of outputs that are known.

    Parameters
    ----------
    outputs
        Those of `NEEDED`, and what there is of `OPTIONAL`.
    second
        The second region, and the outputs of its stack.
    """
    fallback = _fallback(outputs) if second is None else _second_region(*second, outputs)
    sections: dict[str, dict[str, object]] = {
        "site": {"name": outputs["SiteName"]},
        "engine": {"name": "totalsegmentator", "version": outputs["EngineVersion"]},
        "objects": {
            "backend": "s3",
            "bucket": outputs["Bucket"],
            "prefix": outputs["Prefix"],
            "kms_key": outputs.get("BucketKey", ""),
        },
        "queue": {
            "backend": "batch",
            "job_queue": _name(outputs["JobQueue"]),
            "job_definition": outputs["JobDefinition"],
        },
        "queue.urgent": {"job_queue": _name(outputs.get("FastJobQueue", ""))},
        **fallback,
        "news": {"backend": "sqs", "queue_url": outputs["NewsQueueUrl"]},
        "mirror": {"backend": "dynamodb", "table": outputs["StudiesTable"]},
        "watch": {"backend": "cloudwatch", "namespace": outputs["MetricNamespace"]},
        "aws": {"region": region},
    }
    lines = [f"# Made by `iris config from-stack {stack}`. To be added: [dicom], [[destination]], [[rule]]."]
    for section, keys in sections.items():
        said = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value]
        lines += ["", f"[{section}]", *said] if said else []
    return "\n".join(lines) + "\n"


def _fallback(outputs: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """The stack's own queue without GPUs."""
    return {
        "queue.fallback": {
            "after_s": float(outputs.get("FallbackAfterSeconds", 0)),
            "job_queue": _name(outputs.get("CpuJobQueue", "")),
            "job_definition": outputs.get("CpuJobDefinition", ""),
        },
        "queue.fallback.options": {"fast": bool(outputs.get("CpuJobQueue"))},
    }


def _second_region(
    region: str, there: Mapping[str, str], outputs: Mapping[str, str]
) -> dict[str, dict[str, object]]:
    """The queue with GPUs of the stack in the second region."""
    return {
        "queue.fallback": {
            "after_s": float(outputs.get("FallbackAfterSeconds", 0)),
            "region": region,
            "bucket": there["Bucket"],
            "prefix": there["Prefix"],
            "kms_key": there.get("BucketKey", ""),
            "job_queue": _name(there["JobQueue"]),
            "job_definition": there["JobDefinition"],
            "news_queue_url": there["NewsQueueUrl"],
        }
    }


def _name(queue: str) -> str:
    """A job queue's name; another stack may export it as an ARN, which says the account, too."""
    return queue.rpartition("/")[2]
