"""One proof: the phantom is made, goes its way, and the page is written."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.adapters.dicom.peer import Peer
from gateway.backends.pacs import tls_of_calls
from gateway.config import Config

from .at_gateway import AtGateway
from .course import run_course
from .pacs import Listening, Pacs
from .page import Shown, page_of
from .phantom import BALLS, PIXEL_MM, write_phantom
from .scene import Scene
from .stations import Report, Station
from .web import WebPacs


@dataclass(frozen=True)
class Wanted:
    """What a person asks for.

    Parameters
    ----------
    calling_ae_title
        As whom the PACS is called; empty: this gateway's own AE title.
    listening
        Where the PACS may send by C-MOVE; None: nowhere.
    said
        Attributes of the phantom by keyword, that are to be otherwise.
    wait_s
        A station at which nothing happens for so long has failed.
    page
        Where the PDF goes.
    """

    peer: Peer
    calling_ae_title: str
    listening: Listening | None
    said: Mapping[str, str]
    wait_s: float
    page: Path


def run_proof(
    config: Config, wanted: Wanted, told: Callable[[Station], None], say: Callable[[str], None]
) -> Report:
    """Prove, and write the page.

    Parameters
    ----------
    told, say
        Told each station when it is over, and what is being waited for.

    Raises
    ------
    OSError
        There is no room for the phantom, or the page cannot be written.
    TlsError
    """
    began = config.site.local(datetime.now(UTC))
    report = Report(began)
    calling = wanted.calling_ae_title or config.dicom.ae_title
    report.facts["PACS"] = str(wanted.peer)
    report.facts["Called as"] = calling
    report.facts["Gateway"] = f"{config.site.name}, {config.dicom.ae_title}"
    with tempfile.TemporaryDirectory(prefix="iris-prove-") as place:
        folder = Path(place)
        phantom = write_phantom(folder / "phantom", began, wanted.said)
        report.facts["Engine"] = config.engine.name
        report.facts["Phantom"] = (
            f"{phantom.patient}, accession number {phantom.accession_number}, {len(phantom.files)} images"
        )
        gateway = AtGateway(config)
        web = gateway.web_service_at(wanted.peer.host)
        pacs = Pacs(
            _with_tls(config, wanted.peer), calling, wanted.listening, None if web is None else WebPacs(web)
        )
        scene = Scene(gateway, pacs, phantom, folder, wanted.wait_s, say, report)
        run_course(scene, told)
        content = page_of(report, _pictures(scene), began)
    wanted.page.write_bytes(content)
    return report


def _with_tls(config: Config, peer: Peer) -> Peer:
    """The peer as the configuration calls it, where it is one of its destinations, or asked by C-FIND."""
    find = config.study.find
    known = [(each.host, each.port, each.tls) for each in config.destination]
    for host, port, tls in (*known, (find.host, find.port, find.tls)):
        if (host, port) == (peer.host, peer.port):
            return Peer(peer.ae_title, peer.host, peer.port, tls_of_calls(tls))
    return peer


def _pictures(scene: Scene) -> list[Shown]:
    """Of each position the slice that shows most of the balls, as it came back."""
    shown = []
    for series in scene.phantom.series:
        labels = scene.came_back.get(series.pose.name)
        if labels is not None:
            balls = [(series.labels == ball.value).sum(axis=(1, 2)) for ball in BALLS]
            best = max(range(len(labels)), key=lambda at: sorted(counts[at] for counts in balls))
            side = "right" if series.pose.rows_lps[0] > 0 else "left"
            shown.append(
                Shown(f"{series.pose.name}: the patient's {side} at the left", labels[best], PIXEL_MM)
            )
    return shown
