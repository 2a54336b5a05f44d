"""What real PACS take is asked by negotiation, and what they refuse is said with the way out for each."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.dicom.peer import NotReached, Peer, echo
from gateway.config import Config
from gateway.delivery.asking import ask, wanted_forms
from gateway.delivery.carriers.catalogue import carrier_of
from gateway.delivery.trying import try_destination
from gateway.demo.loopback import free_port
from gateway.demo.orthanc import Orthanc, find_orthanc

LABEL_MAPS = "does not take Label Map Segmentation Storage (1.2.840.10008.5.1.4.1.1.66.7)"
DEADLINE_S = 120.0


@contextmanager
def orthanc(folder: Path, **configuration: Any) -> Iterator[Peer]:
    program = find_orthanc()
    assert program is not None
    pacs = Orthanc(folder, program, configuration=configuration)
    pacs.start()
    try:
        yield pacs.peer
    finally:
        pacs.stop()


@contextmanager
def dcmqrscp(folder: Path) -> Iterator[Peer]:
    peer = Peer("QR", "127.0.0.1", free_port())
    (folder / "store").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {peer.port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQR {folder / 'store'} RW (9, 1024mb) ANY\nAETable END\n"
    )
    with subprocess.Popen(["dcmqrscp", "-c", str(folder / "dcmqrscp.cfg")]) as program:
        try:
            until_it_answers(peer)
            yield peer
        finally:
            program.terminate()


def until_it_answers(peer: Peer) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while True:
        try:
            echo(peer, "IRIS")
            return
        except NotReached:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)


def doctor_says(peer: Peer, **sections: Any) -> list[Check]:
    """Of what it takes, once it has answered."""
    pacs = {"name": "pacs", "ae_title": peer.ae_title, "host": peer.host, "port": peer.port}
    config = Config(destination=[pacs], rule=[{"name": "ct", "outputs": ["seg", "sr"]}], **sections)
    to = config.destination[0]
    carrier = carrier_of(config, to)
    echoed, *others = try_destination(config, to, carrier, lambda: ask(carrier, wanted_forms(config, to)))
    assert (echoed.verdict, echoed.finding) == (Verdict.OK, f"{carrier} answers C-ECHO")
    return others


@pytest.mark.peer("orthanc", "dcmtk")
@pytest.mark.parametrize(
    ("pacs", "product", "way_out"),
    [
        pytest.param(
            lambda folder: orthanc(folder, UnknownSopClassAccepted=False),
            "Orthanc",
            'set "UnknownSopClassAccepted": true in its configuration, and restart it',
            id="Orthanc as it comes",
        ),
        pytest.param(
            dcmqrscp,
            "dcmqrscp",
            "it takes the SOP classes that its dcmtk knows, and no setting adds one: a newer dcmtk may",
            id="dcmqrscp",
        ),
    ],
)
def test_pacs_that_knows_no_label_maps_is_told_by_its_name_and_takes_the_rest(
    tmp_path: Path, pacs: Callable[[Path], Any], product: str, way_out: str
) -> None:
    with pacs(tmp_path) as peer:
        (refused,) = doctor_says(peer, seg={"type": "labelmap"})
        (taken,) = doctor_says(peer)
    assert refused == Check(
        "destination pacs",
        Verdict.WARNING,
        f"pacs, {product}, {LABEL_MAPS}: its segmentation is BINARY",
        way_out,
    )
    assert taken.verdict is Verdict.OK
    assert taken.finding.startswith(f"{product} (OFFIS_DCMTK_")
