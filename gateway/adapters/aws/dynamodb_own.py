"""The mirror's table for who has no ledger: items that the cloud itself writes, in the mirror's own shape.

One study, its job and new lines of its timeline are one transaction. The job's version is what two writers
meet at: it has to be the one that was read, so that whoever comes second is told to look again. The others
keep the mirror's rule: only over a lower version. Where it moves the counts of what the cloud has, that is
part of it: the counts are one item, which two jobs may meet at, and then it is only tried again.
"""

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from gateway.adapters.mirror import OPEN_SINCE, Counting, Item, ItemKey, ItemKind, MirrorItem

from .dynamodb import IS_LATER, NAMES, PARTITION_KEY, SORT_KEY, content_of, key_of, serialized
from .dynamodb_reading import plain
from .refusals import asking, code_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_deserialize = TypeDeserializer().deserialize
_IS_NEW: Final = "attribute_not_exists(#pk)"
_IS_AS_READ: Final = "#version = :version"
_NOTHING: Final = "None"
_CONFLICT: Final = "TransactionConflict"
_SOMEBODY_WAS_FIRST: Final = frozenset({"ConditionalCheckFailed", _CONFLICT})
TRIES: Final = 8
LONGEST_PAUSE_S: Final = 0.2


class OwnItems:
    """Reads and writes the cloud's own items; reads see every write that was answered."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table
        self._resource = f"the table {table}"

    def get(self, key: ItemKey) -> Item | None:
        """One item; None where there is none.

        Raises
        ------
        Retriable, Permanent
        """
        with asking("dynamodb:GetItem", self._resource):
            found = self._client.get_item(
                TableName=self._table, Key=serialized(key_of(key)), ConsistentRead=True
            ).get("Item")
        return None if found is None else {name: plain(_deserialize(of)) for name, of in found.items()}

    def write(
        self, items: Sequence[MirrorItem], read_version: int | None, counting: Counting | None = None
    ) -> bool:
        """Write these items, all or none; False where another has written the job meanwhile.

        Parameters
        ----------
        read_version
            The job's version that these items follow from; None: there was no job.
        counting
            What it does to the counts; None: nothing.

        Raises
        ------
        Retriable, Permanent
        """
        return self._transact([{"Put": self._put(item, read_version)} for item in items], counting)

    def remove(self, key: ItemKey, read_version: int, counting: Counting | None = None) -> bool:
        """Remove an item that is as it was read; False where another has written or removed it meanwhile.

        Parameters
        ----------
        counting
            What it does to the counts; None: nothing.

        Raises
        ------
        Retriable, Permanent
        """
        removal = {
            "TableName": self._table,
            "Key": serialized(key_of(key)),
            "ConditionExpression": _IS_AS_READ,
            "ExpressionAttributeNames": {"#version": NAMES["#version"]},
            "ExpressionAttributeValues": serialized({":version": read_version}),
        }
        return self._transact([{"Delete": removal}], counting)

    def _transact(self, changes: list[Any], counting: Counting | None) -> bool:
        writes = changes if counting is None else [*changes, {"Update": self._count(counting)}]
        with asking("dynamodb:PutItem", self._resource):
            for tried in range(TRIES):
                try:
                    self._client.transact_write_items(TransactItems=writes)
                except ClientError as error:
                    if code_of(error) != "TransactionCanceledException":
                        raise
                    in_the_way = _in_the_way(error)
                    if in_the_way[: len(changes)].count(_NOTHING) < len(changes):
                        if set(in_the_way) <= {_NOTHING, *_SOMEBODY_WAS_FIRST}:
                            return False
                        raise
                    if in_the_way[-1] != _CONFLICT or tried == TRIES - 1:
                        raise
                    time.sleep(random.uniform(0, LONGEST_PAUSE_S))  # two that met must not meet again
                else:
                    break
        return True

    def erase(self, study_key: str) -> int:
        """Erase every item of a study, its own the last, so that what is cut off can be asked for again.

        Raises
        ------
        Retriable, Permanent
        """
        study = key_of(ItemKey(study_key, ItemKind.STUDY))
        with asking("dynamodb:Query", self._resource):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="#pk = :pk",
                ProjectionExpression="#pk, #sk",
                ExpressionAttributeNames={"#pk": PARTITION_KEY, "#sk": SORT_KEY},
                ExpressionAttributeValues=serialized({":pk": study[PARTITION_KEY]}),
                ConsistentRead=True,
            )
            found = [key for page in pages for key in page["Items"]]
        found.sort(key=lambda key: key == serialized(study))
        with asking("dynamodb:DeleteItem", self._resource):
            for key in found:
                self._client.delete_item(TableName=self._table, Key=key)
        return len(found)

    def _count(self, counting: Counting) -> Any:
        numbers = dict(enumerate(sorted(counting.by.items())))
        clauses = {"ADD": [f"#n{number} :n{number}" for number in numbers], "DELETE": list[str]()}
        names = {f"#n{number}": name for number, (name, _) in numbers.items()}
        values: dict[str, Any] = {f":n{number}": by for number, (_, by) in numbers.items()}
        for verb, at in (("ADD", counting.opened), ("DELETE", counting.closed)):
            if at:
                clauses[verb].append("#open :at")
                names["#open"], values[":at"] = OPEN_SINCE, {at}
        return {
            "TableName": self._table,
            "Key": serialized(key_of(ItemKey("", ItemKind.COUNTS, counting.site))),
            "UpdateExpression": " ".join(f"{verb} {', '.join(of)}" for verb, of in clauses.items() if of),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": serialized(values),
        }

    def _put(self, item: MirrorItem, read_version: int | None) -> Any:
        condition, version = IS_LATER, item.version
        if item.key.kind is ItemKind.JOB:
            condition, version = (_IS_NEW, 0) if read_version is None else (_IS_AS_READ, read_version)
        names = {name: of for name, of in NAMES.items() if name in condition}
        values = {"ExpressionAttributeValues": serialized({":version": version})}
        return {
            "TableName": self._table,
            "Item": serialized(content_of(item)),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            **(values if ":version" in condition else {}),
        }


def _in_the_way(error: ClientError) -> list[str]:
    """What stood in the way of each write of a transaction, in their order."""
    reasons = cast(Any, error.response).get("CancellationReasons", [])
    return [reason.get("Code", _NOTHING) for reason in reasons]
