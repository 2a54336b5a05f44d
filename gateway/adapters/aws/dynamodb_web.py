"""The present web client's own table: key `jobId`, index `userId-createdAt-index`, an item a study."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .dynamodb import serialized, unless_it_is_later
from .refusals import asking

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY: Final = "jobId"
IS_LATER: Final = "attribute_not_exists(#key) OR #version < :version"
"""An item of the client's own has no version: it is never touched."""
NAMES: Final = {"#key": KEY, "#version": "version"}


class WebTable:
    """A table that exists already; items only ever become newer."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table
        self._resource = f"the table {table}"

    def put(self, item: Mapping[str, Any]) -> None:
        """Write an item, with its `version`, unless the table has that version of it or a later one.

        Raises
        ------
        Retriable, Permanent
        """
        with asking("dynamodb:PutItem", self._resource), unless_it_is_later():
            self._client.put_item(
                TableName=self._table,
                Item=serialized(item),
                ConditionExpression=IS_LATER,
                ExpressionAttributeNames=NAMES,
                ExpressionAttributeValues=serialized({":version": item["version"]}),
            )

    def remove(self, job_id: str, version: int) -> None:
        """Remove an item if its version is lower than this; one that is not there is no error.

        Raises
        ------
        Retriable, Permanent
        """
        with asking("dynamodb:DeleteItem", self._resource), unless_it_is_later():
            self._client.delete_item(
                TableName=self._table,
                Key=serialized({KEY: job_id}),
                ConditionExpression=IS_LATER,
                ExpressionAttributeNames=NAMES,
                ExpressionAttributeValues=serialized({":version": version}),
            )
