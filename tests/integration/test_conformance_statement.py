"""docs/conformance.md says what the code goes by, and real associations negotiate that."""

import ast
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.events import Event

from gateway.adapters.dicom.commitment import CommitmentReport, tell
from gateway.adapters.dicom.peer import Calls, Peer, echo
from gateway.adapters.dicom.pledge import ask_to_keep, offers_to_keep, request_for
from gateway.adapters.dicom.retrieval import IMAGE_SYNTAXES, NotAnswered, asking, get, move
from gateway.backfill.fetching import COMMON
from gateway.config.outputs import Form
from gateway.conformance.__main__ import written
from gateway.conformance.negotiated import Context, Proposal, accepted, created, proposed
from gateway.conformance.tables import GIVEN
from gateway.delivery.holdings import CLASSES
from gateway.delivery.sending import send_files, taken_forms
from gateway.listener import statuses
from gateway.listener.wire.naming import COMMITMENT
from gateway.prove.pacs import Pacs

ROOT = Path(__file__).parents[2]
STATEMENT = ROOT / "docs" / "conformance.md"
MOST = 128
Negotiated = dict[str, set[str]]
Ask = Callable[[Peer, Path], object]


def test_statement_has_the_tables_of_today() -> None:
    text = STATEMENT.read_text(encoding="utf-8")
    assert written(text) == text, "run `python -m gateway.conformance docs/conformance.md`"


def test_statement_has_a_meaning_for_every_status_that_is_given() -> None:
    assert set(GIVEN) == {value for value in vars(statuses).values() if isinstance(value, int)}


# -- as acceptor --------------------------------------------------------------------------------------------


def test_every_context_of_the_statement_is_accepted_in_its_preferred_syntax(gate: Any) -> None:
    said = {each.sop_class_uid: each for each in accepted() if each.sop_class_uid != COMMITMENT}
    found = {}
    for some in _runs(list(said.values())):
        offers = [build_context(each.sop_class_uid, sorted(each.transfer_syntax_uids)) for each in some]
        entity = AE("PACS")
        entity.requested_contexts = offers
        opened = entity.associate(*gate.address, ae_title="IRIS")
        found |= {
            str(each.abstract_syntax): str(each.transfer_syntax[0]) for each in opened.accepted_contexts
        }
        opened.release()
    assert found == {uid: each.transfer_syntax_uids[0] for uid, each in said.items()}


def test_every_transfer_syntax_of_the_statement_is_accepted_and_nothing_that_it_lacks(gate: Any) -> None:
    image = next(each for each in accepted() if len(each.transfer_syntax_uids) > 10)
    private = ("1.2.3.4", image.transfer_syntax_uids[0])
    offers = [(image.sop_class_uid, syntax) for syntax in image.transfer_syntax_uids]
    opened = gate.associate([*offers, (image.sop_class_uid, "1.2.3.5"), private, (COMMITMENT, offers[0][1])])
    taken = {(str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in opened.accepted_contexts}
    opened.release()
    assert taken == set(offers)


# -- as requestor -------------------------------------------------------------------------------------------


def _file(folder: Path, form: Form) -> Path:
    instance = Dataset()
    instance.SOPClassUID, instance.SOPInstanceUID = form.sop_class_uid, generate_uid()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = form.transfer_syntax_uid
    path = folder / f"{instance.SOPInstanceUID}.dcm"
    instance.save_as(path, enforce_file_format=True)
    return path


def _forms() -> list[Form]:
    return [Form(of.sop_class_uid, syntax) for of in created().values() for syntax in of.transfer_syntax_uids]


def _find(peer: Peer, _: Path) -> None:
    with asking(peer, "IRIS"):
        pass


def _fetch(peer: Peer, folder: Path, uids: Iterable[str], **given: Any) -> None:
    get(peer, "IRIS", folder, sop_class_uids=list(uids), study_uid="1.2", series_uid="1.3", **given)


def _report(peer: Peer, _: Path) -> None:
    tell(peer, "IRIS", CommitmentReport("1.2.3", {"1.2.4": "1.2.5"}, {}, "PACS"), Calls())


def _ask_to_keep(peer: Peer, _: Path) -> None:
    information = request_for("1.2.3", {"1.2.4": "1.2.5"})
    ask_to_keep(peer, "IRIS", information, lambda _: 0, threading.Event(), Calls())


ASKED: dict[str, Ask] = {
    "C-ECHO": lambda peer, _: echo(peer, "IRIS"),
    "asking what is taken": lambda peer, _: taken_forms(_forms(), peer, "IRIS"),
    "C-ECHO before a phantom is sent": lambda peer, _: Pacs(peer, "IRIS", None).hello(),
    "C-STORE of results": lambda peer, at: send_files([_file(at, one) for one in _forms()], peer, "IRIS"),
    "C-FIND": _find,
    "C-GET of earlier results": lambda peer, at: _fetch(peer, at, chain(*CLASSES.values())),
    "C-GET of images": lambda peer, at: _fetch(peer, at, COMMON, syntaxes=IMAGE_SYNTAXES),
    "C-MOVE": lambda peer, _: move(peer, "IRIS", "IRIS", study_uid="1.2", series_uid="1.3"),
    "asking whether anything is kept": lambda peer, _: offers_to_keep(peer, "IRIS"),
    "N-ACTION of storage commitment": _ask_to_keep,
    "N-EVENT-REPORT of storage commitment": _report,
}
"""What the code does for each activity of the statement."""


@contextmanager
def _recorder(proposal: Proposal) -> Iterator[tuple[Peer, Negotiated, set[str]]]:
    """A peer that accepts what the statement says, and keeps what was proposed, and in which roles."""
    heard: Negotiated = {}
    as_scp: set[str] = set()

    def requested(event: Event) -> None:
        requestor = event.assoc.requestor
        for context in requestor.requested_contexts:
            heard.setdefault(str(context.abstract_syntax), set()).update(map(str, context.transfer_syntax))
        as_scp.update(str(uid) for uid, role in requestor.role_selection.items() if role.scp_role)

    entity = AE("PACS")
    for context in proposal.contexts:
        syntaxes = list(context.transfer_syntax_uids)
        roles = True if context.sop_class_uid in proposal.as_scp else None
        entity.add_supported_context(context.sop_class_uid, syntaxes, scu_role=roles, scp_role=roles)
    handlers = [(evt.EVT_REQUESTED, requested), (evt.EVT_C_STORE, lambda _: 0x0000)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield Peer("PACS", *server.server_address[:2]), heard, as_scp
    finally:
        server.shutdown()


@pytest.mark.parametrize("proposal", proposed(), ids=lambda each: each.activity)
def test_gateway_proposes_what_the_statement_says(proposal: Proposal, tmp_path: Path) -> None:
    with _recorder(proposal) as (peer, heard, as_scp), suppress(NotAnswered):  # it answers no query
        ASKED[proposal.activity](peer, tmp_path)
    assert heard == {each.sop_class_uid: set(each.transfer_syntax_uids) for each in proposal.contexts}
    assert as_scp == set(proposal.as_scp)


PROPOSING = {
    "gateway/adapters/dicom/commitment.py: tell",
    "gateway/adapters/dicom/peer.py: echo",
    "gateway/adapters/dicom/pledge.py: ask_to_keep",
    "gateway/adapters/dicom/pledge.py: offers_to_keep",
    "gateway/adapters/dicom/retrieval.py: asking",
    "gateway/adapters/dicom/retrieval.py: get",
    "gateway/adapters/dicom/retrieval.py: move",
    "gateway/delivery/sending.py: each_sent",
    "gateway/delivery/sending.py: taken_forms",
    "gateway/prove/pacs.py: hello",
}
"""What makes presentation contexts that are proposed; the demo has entities of its own."""


def test_statement_knows_all_that_proposes_presentation_contexts() -> None:
    found = set()
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        if name.startswith("gateway/demo/") or "build_context" not in text:
            continue
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef) and _makes_contexts(function):
                found.add(f"{name}: {function.name}")
    assert found == PROPOSING, "say in gateway/conformance/negotiated.py what it proposes, and try it above"


def _makes_contexts(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "build_context" for node in ast.walk(function))


def _runs(contexts: Sequence[Context]) -> Iterator[Sequence[Context]]:
    for begin in range(0, len(contexts), MOST):
        yield contexts[begin : begin + MOST]
