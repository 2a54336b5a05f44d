"""Who we are for AWS, and whether our clock is AWS's."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from botocore.exceptions import HTTPClientError

from gateway.adapters.aws.refusals import asking
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.checks import Check, Verdict

SKEW_WARNING_S: Final = 60.0
SKEW_FAILURE_S: Final = 300.0
"""AWS takes 15 minutes at most, and some of its services 5."""
IDENTITY: Final = "aws identity"


def identity(session: AwsSession) -> Iterator[Check]:
    """Whether AWS knows us, and as whom.

    Raises
    ------
    Away, Permanent
        It does not: nothing else can be looked at.
    """
    with asking("sts:GetCallerIdentity", "the AWS account"):
        try:
            arn = session.sts().get_caller_identity()["Arn"]
        except HTTPClientError:  # not needed by the gateway itself, and not every network leads there
            finding = "STS does not answer here, so who we are is not known"
            yield Check(IDENTITY, Verdict.WARNING, finding, "nothing, where all else is ok")
            return
    who = "/".join(arn.rpartition(":")[2].split("/")[:2])
    if who == "root":
        finding = "we are the account's root user, who may do everything"
        yield Check(IDENTITY, Verdict.WARNING, finding, "give this machine a role of its own")
        return
    yield Check(IDENTITY, Verdict.OK, f"we are {who} in {session.region}")


def clock(date: str, now: datetime) -> Check:
    """Whether our clock is that of an answer.

    Parameters
    ----------
    date
        The answer's header `Date` (RFC 9110, 5.6.7).
    now
        Our time when it came (UTC).
    """
    try:
        skew_s = abs((now - parsedate_to_datetime(date).astimezone(UTC)).total_seconds())
    except (TypeError, ValueError):
        return Check("aws clock", Verdict.WARNING, "an answer of S3 has no time", "look at what lies between")
    finding = f"{skew_s:.0f} s from that of AWS"
    if skew_s <= SKEW_WARNING_S:
        return Check("aws clock", Verdict.OK, finding)
    verdict = Verdict.FAILED if skew_s > SKEW_FAILURE_S else Verdict.WARNING
    return Check("aws clock", verdict, finding, "let this machine keep time: timedatectl set-ntp true")
