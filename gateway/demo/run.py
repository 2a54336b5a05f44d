"""`iris demo`: starts a gateway and a PACS, sends a study, follows it, and shows what came back."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from converter.errors import ConverterError
from gateway.adapters.dicom.peer import NotReached, Peer, parse_peer
from gateway.commands.status_client import StatusClient
from gateway.delivery.sending import NotSendable, send_files
from gateway.delivery.statuses import Answer, understand
from gateway.files.names import API_ADDRESS_NAME, DICOM_ADDRESS_NAME

from .children import Child, DemoError, clean_environment
from .configuration import write_configuration
from .following import Follower, now
from .loopback import PACS_AE_TITLE
from .outcome import NewSeries, Outcome, fetch_segmentations, find_new_series, show_segmentation
from .pacs import Pacs, choose_pacs
from .pictures import Pictures, fetch_pictures
from .screen import Screen
from .workplace import Study, example_study, read_study, working_folder

START_TIMEOUT_S = 60.0
CALLING_AE_TITLE = "IRIS-DEMO"
INTERRUPTED = 130


def run_demo(
    *, console: Console, folder: Path = Path("iris-demo"), study: Path | None = None, keep: bool = False,
    pacs: str = "auto", config: Path | None = None,
) -> int:  # fmt: skip
    """Send a study through a gateway of the demo's own and show its segmentation.

    Parameters
    ----------
    folder
        Working folder, made anew; one that the demo did not make is left alone and refused.
    study
        Folder with the files of one study; None for the example that comes with the demo.
    keep
        Leave gateway and PACS running until Ctrl-C.
    pacs
        `orthanc`, `builtin`, or `auto` for Orthanc where it is installed.
    config
        Lines of one's own for the gateway's configuration, under what the demo has to set.

    Returns
    -------
    int
        0 when the segmentation came back from the PACS, 1 when a step failed, 130 when interrupted.
    """
    screen = Screen(console)
    with _ended_like_ctrl_c():
        try:
            with working_folder(folder) as place, ExitStack() as running:
                _Demo(place, screen, running, config).run(study, keep, pacs)
        except _Failed as failed:
            screen.failed(str(failed), failed.last_lines)
            return 1
        except (DemoError, ConverterError, NotReached, NotSendable, OSError) as error:
            screen.failed(_sentence(error), [])
            return 1
        except KeyboardInterrupt:
            screen.say("interrupted; everything that the demo started has ended")
            return INTERRUPTED
    return 0


class _Failed(Exception):
    """A step failed while the gateway ran: with the end of its log."""

    def __init__(self, error: Exception, last_lines: list[str]) -> None:
        super().__init__(_sentence(error))
        self.last_lines = last_lines


class _Demo:
    """One run of the demo in a working folder."""

    def __init__(self, place: Path, screen: Screen, running: ExitStack, own: Path | None) -> None:
        self._own = own
        self._place = place
        self._screen = screen
        self._running = running
        self._data_dir = place / "iris-data"
        self._started = time.monotonic()
        self._came_back: list[NewSeries] = []
        self._pictures: list[Pictures] = []

    def run(self, study_folder: Path | None, keep: bool, pacs_kind: str) -> None:
        study = read_study(study_folder or example_study())
        self._screen.heading(
            "IRIS Gateway: a study goes from a PACS to the gateway, its segmentation comes back"
        )
        pacs = self._start_pacs(choose_pacs(pacs_kind, self._place / "pacs"))
        gateway = self._start_gateway(pacs)
        try:
            self._store_in_pacs(study, pacs)
            released_at = self._send(study)
            client = StatusClient(self._data_dir)
            Follower(client, gateway, self._screen, study.study_uid, released_at).follow()
            outcomes = self._fetch_and_draw(study, pacs)
        except (DemoError, ConverterError, NotReached, NotSendable, OSError) as error:
            raise _Failed(error, gateway.last_lines()) from error
        self._summarize(outcomes, keep)
        if keep:
            self._stay(gateway, pacs)

    # -- what is started ----------------------------------------------------------------------------------

    def _start_pacs(self, pacs: Pacs) -> Pacs:
        began = time.monotonic()
        with self._screen.busy("starting the PACS"):
            self._running.callback(pacs.stop)
            pacs.start()
        self._screen.done("PACS", f"{pacs.name}, {pacs.peer}", time.monotonic() - began)
        return pacs

    def _start_gateway(self, pacs: Pacs) -> Child:
        began = time.monotonic()
        configuration = write_configuration(self._place, pacs.peer, self._own)
        with self._screen.busy("starting the gateway"):
            gateway = Child(
                "the gateway",
                [sys.executable, "-m", "gateway.cli", "serve", "--config", str(configuration)],
                self._place / "gateway.log",
                clean_environment(),
            )
            self._running.callback(gateway.stop)
            address = self._data_dir / API_ADDRESS_NAME
            try:
                gateway.wait_until(address.is_file, "has not opened its ports", START_TIMEOUT_S)
            except DemoError as error:
                raise _Failed(error, gateway.last_lines()) from None
        self._screen.done("Gateway", f"{self._gateway_peer()}", time.monotonic() - began)
        return gateway

    def _gateway_peer(self) -> Peer:
        return parse_peer((self._data_dir / DICOM_ADDRESS_NAME).read_text(encoding="utf-8").strip())

    def _page_address(self) -> str:
        return StatusClient(self._data_dir).page_address()

    # -- the study's way ----------------------------------------------------------------------------------

    def _store_in_pacs(self, study: Study, pacs: Pacs) -> None:
        """Put the study where it would lie: a PACS has the images before it forwards them."""
        began = time.monotonic()
        self._send_all(study, pacs.peer, CALLING_AE_TITLE, "storing the study in the PACS")
        self._screen.done("In the PACS", f"{len(study.files)} objects", time.monotonic() - began)

    def _send(self, study: Study) -> datetime:
        """Forward the study to the gateway under the PACS's AE title; when the association was released."""
        began = time.monotonic()
        self._send_all(study, self._gateway_peer(), PACS_AE_TITLE, "sending the study to the gateway")
        self._screen.done(
            "Received",
            f"{len(study.files)} objects, as {PACS_AE_TITLE} by C-STORE to the gateway",
            time.monotonic() - began,
        )
        return now()

    def _send_all(self, study: Study, peer: Peer, calling_ae_title: str, what: str) -> None:
        with self._screen.busy(what) as busy:
            count = 0

            def advance(path: Path, status: int | None) -> None:
                nonlocal count
                count += 1
                busy.show(what, count / len(study.files))

            results = send_files(study.files, peer, calling_ae_title, on_sent=advance)
        refused = [result for result in results if understand(result.status) is not Answer.STORED]
        if refused or len(results) < len(study.files):
            meaning = refused[0].meaning if refused else "no answer"
            raise DemoError(f"{peer} did not take every object of the study: {meaning}")

    def _fetch_and_draw(self, study: Study, pacs: Pacs) -> list[Outcome]:
        began = time.monotonic()
        with self._screen.busy("fetching the segmentation from the PACS"):
            self._came_back = find_new_series(pacs.peer, CALLING_AE_TITLE, study)
            folder = self._place / "fetched"
            fetched = fetch_segmentations(pacs.peer, CALLING_AE_TITLE, study, self._came_back, folder)
            self._pictures = fetch_pictures(pacs.peer, CALLING_AE_TITLE, study, self._came_back, self._place)
        count = "1 DICOM-SEG" if len(fetched) == 1 else f"{len(fetched)} DICOM-SEGs"
        kinds = ", ".join(["", *(one.kind.lower() for one in self._pictures)])
        self._screen.done("Fetched back", f"{count}{kinds} from the PACS by C-GET", time.monotonic() - began)
        began = time.monotonic()
        caption = f"Drawn from the DICOM-SEG that {pacs.name} gave back, on the source images"
        outcomes = []
        with self._screen.busy("drawing"):
            for number, path in enumerate(fetched, start=1):
                name = "picture.png" if number == 1 else f"picture-{number}.png"
                outcomes.append(show_segmentation(path, study, self._place / name, caption))
        self._screen.done("Drawn", "the segmentation on its source images", time.monotonic() - began)
        return outcomes

    # -- the end ------------------------------------------------------------------------------------------

    def _summarize(self, outcomes: list[Outcome], keep: bool) -> None:
        console, screen = self._screen.console, self._screen
        for outcome in outcomes:
            screen.say()
            table = Table(title=outcome.description, title_justify="left", pad_edge=False)
            table.add_column("segment")
            table.add_column("volume", justify="right")
            for segment in outcome.segments:
                table.add_row(segment.name, f"{segment.volume_ml:,.1f} ml")
            console.print(table)
        screen.say()
        for pictures in self._pictures:
            screen.say(
                f"{pictures.kind:<14} {pictures.place}  (open it: what a viewer without segmentations shows)"
            )
        for outcome in outcomes:
            screen.say(f"Picture        {outcome.picture}")
            screen.say(f"DICOM-SEG      {outcome.path}")
        for other in (one for one in self._came_back if one.modality != "SEG"):
            screen.say(f"Also came back {other.modality}: {other.description}")
        screen.say(f"Gateway's data {self._data_dir}")
        screen.say(f"Its log        {self._place / 'gateway.log'}")
        screen.say(f"Status page    {self._page_address()}")
        if not keep:
            screen.say("               (--keep leaves gateway and PACS running to look around)")
        screen.heading(
            f"Done in {time.monotonic() - self._started:.1f} s. For research use, not for diagnosis."
        )

    def _stay(self, gateway: Child, pacs: Pacs) -> None:
        screen = self._screen
        screen.say()
        screen.say(f"Gateway        {self._gateway_peer()} (takes C-STORE from {PACS_AE_TITLE})")
        screen.say(f"PACS           {pacs.peer}" + (f", {pacs.web_page}" if pacs.web_page else ""))
        screen.say(f"Command line   iris studies --config {self._place / 'iris.toml'}")
        screen.heading("It keeps running; Ctrl-C ends it.")
        try:
            while True:
                gateway.check()
                time.sleep(1.0)
        except KeyboardInterrupt:
            screen.say("ended")


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does: with everything that it started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sentence(error: Exception) -> str:
    """One line; an operating system's error with the file that it is about."""
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror}"
    return str(error)
