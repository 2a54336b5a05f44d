"""The DynamoDB table of the mirror: its keys and indexes, and what keeps and clears it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.adapters.aws.dynamodb import TTL_ATTRIBUTE, table_definition
from gateway.adapters.aws.refusals import asking
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.checks import Check, Verdict, until_refused

TABLE: Final = "mirror table"


def table(session: AwsSession, name: str) -> Iterator[Check]:
    """Whether the table is as the mirror needs it.

    Raises
    ------
    Away, Permanent
    """
    resource, client = f"the table {name}", session.dynamodb()
    with asking("dynamodb:DescribeTable", resource):
        found: Any = client.describe_table(TableName=name)["Table"]
    wanted: Any = table_definition(name)
    yield _keys(name, found, _schema(wanted))
    indexes = {index["IndexName"]: _schema(index) for index in wanted["GlobalSecondaryIndexes"]}
    yield _indexes(name, found, indexes)
    look = Verdict.WARNING
    yield from until_refused("mirror expiry", _expiry(session, name), look, "not looked at")
    yield from until_refused("mirror backup", _backup(session, name), look, "not looked at")


def _keys(name: str, found: Mapping[str, Any], wanted: Mapping[str, str]) -> Check:
    keys = _schema(found)
    if keys != wanted:
        finding = f"{name} has the keys {', '.join(keys.values())} instead of {', '.join(wanted.values())}"
        fix = "make another table with them (keys cannot be changed), and name it in mirror.table"
        return Check(TABLE, Verdict.FAILED, finding, fix)
    if found.get("TableStatus") not in ("ACTIVE", "UPDATING"):
        return Check(TABLE, Verdict.FAILED, f"{name} is {found.get('TableStatus')}", "wait, or make it anew")
    return Check(TABLE, Verdict.OK, f"{name} with its keys {', '.join(keys.values())}")


def _indexes(name: str, found: Mapping[str, Any], wanted: Mapping[str, Mapping[str, str]]) -> Check:
    there = {index["IndexName"]: index for index in found.get("GlobalSecondaryIndexes", [])}
    for index, keys in wanted.items():
        if index not in there or _schema(there[index]) != keys:
            finding = (
                f"index {index} ({', '.join(keys.values())}) is {'another' if index in there else 'missing'}"
            )
            fix = f"aws dynamodb update-table --table-name {name} --global-secondary-index-updates ..."
            return Check("mirror indexes", Verdict.FAILED, finding, fix)
        if there[index].get("IndexStatus", "ACTIVE") != "ACTIVE":
            finding = f"index {index} is {there[index]['IndexStatus']}"
            return Check("mirror indexes", Verdict.WARNING, finding, "wait until it is ACTIVE")
    return Check("mirror indexes", Verdict.OK, ", ".join(wanted))


def _schema(found: Mapping[str, Any]) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in found.get("KeySchema", [])}


def _expiry(session: AwsSession, name: str) -> Iterator[Check]:
    with asking("dynamodb:DescribeTimeToLive", f"the table {name}"):
        found: Any = session.dynamodb().describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    is_on = found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    if is_on and found.get("AttributeName") == TTL_ATTRIBUTE:
        yield Check("mirror expiry", Verdict.OK, f"by {TTL_ATTRIBUTE}")
        return
    command = (
        f"aws dynamodb update-time-to-live --table-name {name}"
        f" --time-to-live-specification Enabled=true,AttributeName={TTL_ATTRIBUTE}"
    )
    yield Check("mirror expiry", Verdict.WARNING, "what is old is never cleared away", command)


def _backup(session: AwsSession, name: str) -> Iterator[Check]:
    with asking("dynamodb:DescribeContinuousBackups", f"the table {name}"):
        found: Any = session.dynamodb().describe_continuous_backups(TableName=name)
    recovery = found["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") == "ENABLED":
        yield Check("mirror backup", Verdict.OK, "point-in-time recovery is on")
        return
    command = (
        f"aws dynamodb update-continuous-backups --table-name {name}"
        " --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    )
    yield Check("mirror backup", Verdict.WARNING, "point-in-time recovery is off", command)
