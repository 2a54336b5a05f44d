"""The mirror in one DynamoDB table.

::

    pk               sk                    attributes
    STUDY#study_key  STUDY                 version, site, state, updated_at, ...
    STUDY#study_key  JOB#job_key           version, site, state, job_key, ...
    STUDY#study_key  EVENT#000000000042    version, site, event, at, ...
    COUNTS           SITE#site             version, site, study#done, job#running, ...

Index `by_state` (state, updated_at) finds studies, since only they have `updated_at`; index `by_job`
(job_key) finds jobs, since only they have `job_key`. Items are put one by one: BatchWriteItem takes no
conditions, and a transaction costs twice as much and fails as a whole.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from gateway.adapters.mirror import ItemKey, ItemKind, MirrorItem

from .refusals import asking, code_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

PARTITION_KEY: Final = "pk"
SORT_KEY: Final = "sk"
COUNTS_PARTITION: Final = "COUNTS"
BY_STATE: Final = "by_state"
BY_JOB: Final = "by_job"
TTL_ATTRIBUTE: Final = "expires_at"

_NOT_NEWER = "ConditionalCheckFailedException"
IS_LATER: Final = "attribute_not_exists(#pk) OR #version < :version"
NAMES: Final = {"#pk": PARTITION_KEY, "#version": "version"}
"""Names in expressions are given by reference: DynamoDB reserves hundreds of words."""
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def table_definition(table: str) -> "CreateTableInputTypeDef":
    """What CreateTable is asked for; time to live on `TTL_ATTRIBUTE` is switched on by a second call."""
    return {
        "TableName": table,
        "KeySchema": [
            {"AttributeName": PARTITION_KEY, "KeyType": "HASH"},
            {"AttributeName": SORT_KEY, "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"}
            for name in (PARTITION_KEY, SORT_KEY, "state", "updated_at", "job_key")
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": BY_STATE,
                "KeySchema": [
                    {"AttributeName": "state", "KeyType": "HASH"},
                    {"AttributeName": "updated_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            },
            {
                "IndexName": BY_JOB,
                "KeySchema": [{"AttributeName": "job_key", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            },
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }


class DynamoMirror:
    """A Mirror in one table, which exists already."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table
        self._resource = f"the table {table}"

    def put(self, item: MirrorItem) -> int | None:
        """Write an item unless the table has this version of it, or a later one; see `Mirror.put`."""
        with asking("dynamodb:PutItem", self._resource):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=serialized(content_of(item)),
                    ConditionExpression=IS_LATER,
                    ExpressionAttributeNames=NAMES,
                    ExpressionAttributeValues=serialized({":version": item.version}),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != _NOT_NEWER:
                    raise
                present = cast(Mapping[str, Any], error.response).get("Item", {})
                return int(_deserialize(present["version"])) if present else item.version
        return None

    def older(self, site: str, version: int) -> Iterator[ItemKey]:
        """Every item of this site's studies whose version is lower; the whole table is read for it."""
        with asking("dynamodb:Scan", self._resource):
            pages = self._client.get_paginator("scan").paginate(
                TableName=self._table,
                FilterExpression="#site = :site AND #version < :version AND #pk <> :counts",
                ExpressionAttributeNames={**NAMES, "#sk": SORT_KEY, "#site": "site"},
                ExpressionAttributeValues=serialized(
                    {":site": site, ":version": version, ":counts": COUNTS_PARTITION}
                ),
                ProjectionExpression="#pk, #sk",
                ConsistentRead=True,
            )
            for page in pages:
                for found in page["Items"]:
                    yield _named(found[PARTITION_KEY]["S"], found[SORT_KEY]["S"])

    def remove(self, key: ItemKey, version: int) -> None:
        """Remove an item if its version is lower than this; see `Mirror.remove`."""
        with asking("dynamodb:DeleteItem", self._resource), unless_it_is_later():
            self._client.delete_item(
                TableName=self._table,
                Key=serialized(key_of(key)),
                ConditionExpression=IS_LATER,
                ExpressionAttributeNames=NAMES,
                ExpressionAttributeValues=serialized({":version": version}),
            )


@contextmanager
def unless_it_is_later() -> Iterator[None]:
    """Leave it at that where a condition says that the table has this version of an item, or a later one."""
    try:
        yield
    except ClientError as error:
        if code_of(error) != _NOT_NEWER:
            raise


def content_of(item: MirrorItem) -> dict[str, Any]:
    """Everything that the table holds under an item's key."""
    over = {} if item.expires_at is None else {TTL_ATTRIBUTE: item.expires_at}
    return {**key_of(item.key), "version": item.version, **item.attributes, **over}


def key_of(key: ItemKey) -> dict[str, Any]:
    """An item's partition and sort key."""
    match key.kind:
        case ItemKind.STUDY:
            sort = "STUDY"
        case ItemKind.JOB:
            sort = f"JOB#{key.name}"
        case ItemKind.EVENT:
            sort = f"EVENT#{int(key.name):012d}"
        case ItemKind.COUNTS:
            return {PARTITION_KEY: COUNTS_PARTITION, SORT_KEY: f"SITE#{key.name}"}
    return {PARTITION_KEY: f"STUDY#{key.study_key}", SORT_KEY: sort}


def _named(partition: str, sort: str) -> ItemKey:
    kind, _, name = sort.partition("#")
    if kind == "EVENT":
        name = str(int(name))
    return ItemKey(partition.removeprefix("STUDY#"), ItemKind(kind.lower()), name)


def serialized(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as DynamoDB's client takes them."""
    return {name: _serialize(_exact(value)) for name, value in values.items()}


def _exact(value: Any) -> Any:
    """The same with floats as the decimals that they are written as: DynamoDB takes no others."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: _exact(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(of) for of in value]
    return value
