"""The API against its own OpenAPI, on the ledger and on the table: every operation, also asked oddly."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.errors import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.adapters.aws.dynamodb_reading import DynamoReader
from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.callers.ledger_tokens import LedgerTokens
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.mirrored.table_store import TableActions, TableMirror, TableStore
from gateway.api.overview.premises import Premises
from gateway.api.probes.readiness import Readiness
from gateway.cloud.uploads import NoUploads
from gateway.config import Config
from gateway.ledger.instances import RefusedObject, put_aside
from gateway.ledger.states import JobEvent
from gateway.listener.intake.archive import Archive
from gateway.listener.intake.filing import Intake
from gateway.listener.put_aside import PutAside
from tests.mirrored_ledger import MirroredLedger, dynamodb, make_table
from tests.nifti import uploads_of

pytestmark = pytest.mark.usefixtures("aws_environment")

TOKEN = {"Authorization": "Bearer a-token-of-this-test"}
EXAMPLES = 3


def _no_fault(
    context: schemathesis.CheckContext, answer: schemathesis.Response, case: schemathesis.Case
) -> None:
    """500 stands in the documents, too, for what nobody foresaw."""
    assert answer.status_code != 500, answer.text


CHECKS = [
    _no_fault,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer('multipart/related; type="application/dicom"')
def _dicom(context: schemathesis.SerializationContext, value: object) -> bytes:
    """Whatever was made up, as it is: no DICOM, and no parts."""
    return str(value).encode()


class _NoFiles:
    def located(self, job_key: str, name: str) -> None:
        return None


@pytest.fixture
def ledger(tmp_path: Path, fresh_moto: str) -> Iterator[MirroredLedger]:
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", fresh_moto, make_table(fresh_moto), site="north")
    ledger.open()
    ledger.move(ledger.job(ledger.study(1)), JobEvent.FAILED, reason="a sentence", exit_code=2)
    ledger.encode(ledger.job(ledger.study(2)))
    ledger.study(3)
    (ledger.ledger.path.parent / "quarantine").mkdir()
    (ledger.ledger.path.parent / "quarantine" / "object1").write_bytes(b"no DICOM")
    refused = RefusedObject("0", "not_dicom", "No DICOM.", "quarantine/object1", None, None, "PACS")
    with ledger.ledger.transaction() as transaction:
        put_aside(transaction, refused)
    ledger.ship()
    yield ledger
    ledger.close()


def _on_ledger(ledger: MirroredLedger) -> FastAPI:
    folder = ledger.ledger.path.parent
    return create_api(
        LedgerStore(ledger.ledger), LedgerActions(ledger.ledger, destinations={"pacs": "PACS@h:104"}),
        lambda: Readiness(True), None, Access("a-token-of-this-test"), _NoFiles(),
        uploads_of(ledger.ledger, folder), mirror=ledger.control, tokens=LedgerTokens(ledger.ledger),
        put_aside=PutAside(ledger.ledger, Intake(ledger.ledger, Archive(folder), str)),
        premises=Premises(Config(), ledger.ledger, [], frozenset(), lambda name: []),
    )  # fmt: skip


def _on_table(ledger: MirroredLedger) -> FastAPI:
    reader = DynamoReader(dynamodb(ledger.url, tries=2), ledger.table)
    return create_api(
        TableStore(reader), TableActions(reader), lambda: Readiness(True), None,
        Access("a-token-of-this-test"), _NoFiles(), NoUploads(), mirror=TableMirror(),
    )  # fmt: skip


@pytest.mark.parametrize("make", [_on_ledger, _on_table])
def test_every_operation_answers_as_its_openapi_says(
    ledger: MirroredLedger, make: Callable[[MirroredLedger], FastAPI]
) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", make(ledger), headers=TOKEN)
    troubles: list[str] = []
    for operation, mode in product(schema.get_all_operations(), schemathesis.GenerationMode):

        @given(case=operation.ok().as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: schemathesis.Case) -> None:
            case.validate_response(case.call(headers=TOKEN), checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:  # what asks for nothing cannot be asked wrongly
            continue
        except (Exception, FailureGroup) as trouble:
            troubles.append(f"{operation.ok().label}, {mode}: {trouble}")
    assert not troubles, "\n".join(troubles)
