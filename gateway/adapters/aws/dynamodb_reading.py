"""Reads the mirror's table: what the status API in the cloud knows.

Queries on keys and indexes only: nothing reads more of the table than it was asked for.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from gateway.adapters.mirror import Item, MirroredStudy

from .dynamodb import BY_JOB, BY_STATE, COUNTS_PARTITION, PARTITION_KEY, SORT_KEY
from .refusals import asking

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

QUERY: Final = "dynamodb:Query"
LINES_AT_ONCE: Final = 500

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize
_KEYS: Final = {"#pk": PARTITION_KEY, "#sk": SORT_KEY}
_NOT_EVENTS: Final = "#pk = :pk AND #sk >= :from"
_EVENTS: Final = "#pk = :pk AND begins_with(#sk, :from)"


class DynamoReader:
    """A MirrorReader of one table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table
        self._resource = f"the table {table}"

    def studies(self, state: str, since: str, until: str, at_once: int) -> Iterator[Item]:
        """Give the studies in one state, the last changed first; see `MirrorReader.studies`."""
        if since > until:  # DynamoDB calls it an error
            return iter(())
        return self._query(
            IndexName=BY_STATE,
            KeyConditionExpression="#state = :state AND #at BETWEEN :since AND :until",
            ExpressionAttributeNames={"#state": "state", "#at": "updated_at"},
            ExpressionAttributeValues=_values(state=state, since=since, until=until),
            ScanIndexForward=False,
            PaginationConfig={"PageSize": at_once},
        )

    def study(self, study_key: str) -> MirroredStudy:
        """One study with its jobs: in the order of sort keys they stand together, after the timeline."""
        found = list(
            self._query(
                KeyConditionExpression=_NOT_EVENTS,
                ExpressionAttributeNames=_KEYS,
                ExpressionAttributeValues=_values(pk=f"STUDY#{study_key}", **{"from": "JOB#"}),
            )
        )
        study = next((item for item in found if item[SORT_KEY] == "STUDY"), None)
        return MirroredStudy(study, [item for item in found if item[SORT_KEY].startswith("JOB#")])

    def timeline(self, study_key: str, job_key: str | None, most: int) -> tuple[list[Item], int]:
        """Read the newest lines, in the order in which they happened, and how many older ones there are."""
        of_job: dict[str, Any] = {"FilterExpression": "#job = :job"} if job_key is not None else {}
        names = _KEYS if job_key is None else {**_KEYS, "#job": "job"}
        values = {"pk": f"STUDY#{study_key}", "from": "EVENT#", **({"job": job_key} if job_key else {})}
        newest, left_out = list[Item](), 0
        for line in self._query(
            KeyConditionExpression=_EVENTS,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=_values(**values),
            ScanIndexForward=False,
            PaginationConfig={"PageSize": LINES_AT_ONCE},
            **of_job,
        ):
            if len(newest) < most:
                newest.append(line)
            else:
                left_out += 1
        return newest[::-1], left_out

    def job(self, job_key: str) -> Item | None:
        """One job; None where the table has none."""
        found = self._query(
            IndexName=BY_JOB,
            KeyConditionExpression="#job_key = :job_key",
            ExpressionAttributeNames={"#job_key": "job_key"},
            ExpressionAttributeValues=_values(job_key=job_key),
        )
        return next(found, None)

    def counts(self) -> Iterator[Item]:
        """The counts of every site: they stand together."""
        return self._query(
            KeyConditionExpression="#pk = :pk",
            ExpressionAttributeNames={"#pk": PARTITION_KEY},
            ExpressionAttributeValues=_values(pk=COUNTS_PARTITION),
        )

    def _query(self, **asked: Any) -> Iterator[Item]:
        with asking(QUERY, self._resource):
            for page in self._client.get_paginator("query").paginate(TableName=self._table, **asked):
                for item in page["Items"]:
                    yield {name: plain(_deserialize(value)) for name, value in item.items()}


def _values(**values: str) -> dict[str, Any]:
    return {f":{name}": _serialize(value) for name, value in values.items()}


def plain(value: Any) -> Any:
    """The same with numbers as Python's own: DynamoDB gives decimals."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {name: plain(of) for name, of in value.items()}
    if isinstance(value, list | set):
        return [plain(of) for of in value]
    return value
