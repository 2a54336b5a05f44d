"""Puts the parts together; the only file that knows every room."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from converter.nifti.conversion import converter_version
from gateway.adapters.descriptors import http_share, raise_descriptor_limit
from gateway.adapters.durable import make_folder
from gateway.api.callers.access import ADMIN, configured_access
from gateway.api.callers.ledger_tokens import LedgerTokens
from gateway.api.callers.sign_in import people_of
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.probes.readiness import Readiness
from gateway.api.studies.links import Links
from gateway.arrival.planning import Planner
from gateway.arrival.watching import Arrival
from gateway.backends.job_folders import JobFolderFiles, begin_to_sweep, kept_here
from gateway.backends.stores import open_store
from gateway.config import Config, ConfigError, Destination
from gateway.configured import engine_version, task_rules, warnings_about
from gateway.corrections.worker import Corrections
from gateway.delivery.another_form import AnotherForm
from gateway.delivery.asking import Asking
from gateway.delivery.carriers.carrier import Carrier
from gateway.delivery.carriers.catalogue import carriers_of
from gateway.delivery.pledging import Pledging
from gateway.delivery.still_there import StillThere
from gateway.delivery.trying import Tries
from gateway.delivery.unclaimed import UnclaimedDeliveries
from gateway.delivery.withdrawing import Withdrawals
from gateway.delivery.worker import DeliveryWorker
from gateway.events import Bus
from gateway.files.locks import DataLocks
from gateway.files.names import API_ADDRESS_NAME, DICOM_ADDRESS_NAME, LEDGER_NAME
from gateway.files.results import JobResults
from gateway.files.site_secret import site_secret
from gateway.files.workplace import Workplace
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.states import JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import study_key_of_job
from gateway.listener.configured import listener_of
from gateway.listener.door.admission import Admission
from gateway.listener.intake.adoption import Adoption
from gateway.listener.intake.archive import Archive
from gateway.listener.intake.filing import Intake
from gateway.listener.put_aside import PutAside
from gateway.logs import name_studies_of_jobs
from gateway.making.convert import Convert, Stage
from gateway.making.encode import Encode
from gateway.mirror.backend import counts_worker, mirror_worker
from gateway.mirror.control import MirrorControl
from gateway.notify.starting import notify_workers
from gateway.notify.worker import NotifyWorker
from gateway.reprocessing import Reprocessing
from gateway.retention.remover import Remover
from gateway.retention.worker import Retention
from gateway.running.computing import Site, computing
from gateway.running.staged import SubmitWhatIsStaged
from gateway.running.turns import submit_worker
from gateway.traces.backend import trace_worker
from gateway.uploads import NiftiUploads
from gateway.watch.backend import watch_worker
from gateway.workers.ledger_watch import LedgerWatch
from gateway.workers.pools import StepPool
from gateway.workers.steps import Step, StepWorker
from gateway.workers.stopping import stop_together
from gateway.workers.worker import Worker

if TYPE_CHECKING:
    from gateway.api.server import ApiServer

log = structlog.get_logger(__name__)


class App:
    """The whole gateway in one process.

    Parameters
    ----------
    config
        Checked already.

    Raises
    ------
    ConfigError
        Rules and engine do not fit together.
    LedgerError
        Another gateway runs on the same data directory.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        facts, data_dir = config.engine.facts, config.data_dir
        rules = task_rules(config, facts)
        _make_data_dir(data_dir)
        bus = Bus()
        self._ledger = ledger = Ledger(data_dir / LEDGER_NAME, bus)
        self._tokens = LedgerTokens(ledger)
        self._access = configured_access(config, self._tokens.find, is_first=ledger.is_new)
        self._people = people_of(config)
        self._mirror = mirror_worker(config, ledger, bus)
        secret = site_secret(ledger, config.secret_path)
        self._identity = identity = EngineIdentity(
            config.engine.name, engine_version(config, facts), facts.weights, converter_version()
        )
        self._store = store = open_store(config)
        objects = store.objects
        workplace = Workplace(ledger, data_dir)
        results = JobResults(objects, workplace)
        self._computing = computing(
            config, Site(ledger, bus, objects, store.job_variables, results, workplace, secret, identity)
        )
        archive, locks = Archive(data_dir), DataLocks()
        self._intake = intake = Intake(ledger, archive, partial(secret.study_key, config.site.name), locks)
        self._admission = Admission(config.dicom.allow, data_dir, config.site.low_water_mb)
        self.listener, listening = listener_of(config, self._admission, intake, ledger)
        planner = Planner(ledger, data_dir, rules, secret, identity, leaves_site=config.leaves_site)
        self._arrival = Arrival(config, ledger, bus, planner, self.listener.has_open_association)
        carriers = carriers_of(config)
        asking = Asking(config, carriers, ledger, bus)
        self._tries = Tries(config, carriers, asking)
        self._pools = self._step_pools(bus, workplace, results, secret, carriers, asking)
        takers = self._takers(bus, results)
        other = AnotherForm(ledger, asking)
        delivering = [DeliveryWorker(*each, ledger, bus, data_dir, other) for each in carriers]
        self._pledging = [
            Pledging(to, config.dicom.ae_title, ledger, bus) for to in config.destination if to.commitment
        ]
        self._notifying = self._notify_workers(bus)
        self._workers: list[Worker] = [
            LedgerWatch(ledger, bus),
            *takers,
            *delivering,
            *self._beside_deliveries(bus, {to.name: carrier for to, carrier in carriers}),
            *self._pledging,
            asking,
            *listening,
            *self._computing.workers,
            *self._arrival.workers,
            Corrections(ledger, bus, workplace, secret.correction_key),
            Adoption(ledger, archive, intake, bus),
            self._retention(bus, locks, [*takers, *delivering]),
            *self._shown_elsewhere(bus),
            *self._notifying,
        ]
        self._uploads = NiftiUploads(config, ledger, secret, identity, locks)
        self._reprocessing = Reprocessing(ledger, facts, secret, identity)
        self._bus = bus
        self.api: ApiServer | None = None

    def _shown_elsewhere(self, bus: Bus) -> Iterator[Worker]:
        """Who copies what the ledger says to where others look."""
        made = (make(self.config, self._ledger, bus) for make in (counts_worker, watch_worker, trace_worker))
        yield from filter(None, (self._mirror, *made))

    def _beside_deliveries(self, bus: Bus, carriers: Mapping[str, Carrier]) -> list[Worker]:
        """Who looks after what was delivered, and what can be delivered to nobody."""
        return [
            StillThere(self._ledger, bus, self.config.data_dir, carriers),
            UnclaimedDeliveries(self._ledger, bus, self.config.destination),
            Withdrawals(self.config, carriers_of(self.config), self._ledger, bus),
        ]

    def _notify_workers(self, bus: Bus) -> list[NotifyWorker]:
        """Tell people what happens."""
        mirror = self._mirror
        complaints = {"disk": self._disk_complaint, "mirror": lambda: mirror.complaint() if mirror else ""}
        return notify_workers(self.config, self._ledger, bus, complaints, self._troubles)

    def _retention(
        self, bus: Bus, locks: DataLocks, takers: Sequence[StepWorker | DeliveryWorker]
    ) -> Retention:
        """Removes nothing that one of these is at work on."""
        ledger, data_dir = self._ledger, self.config.data_dir
        return Retention(
            self.config.retention,
            ledger,
            bus,
            Remover(ledger, data_dir, self._store.objects, locks, self._computing.copies),
            data_dir,
            is_busy=lambda job_keys: any(taker.job_at_hand in job_keys for taker in takers),
        )

    def _takers(self, bus: Bus, results: JobResults) -> list[StepWorker]:
        """Who takes a step with a job, in the order of the steps."""
        convert, stage, encode = (pool.workers for pool in self._pools)
        submit = SubmitWhatIsStaged(self._ledger, results, self._computing.submit)
        return [*convert, *stage, submit_worker(submit, self._ledger, bus, self.config.queue), *encode]

    def _step_pools(
        self,
        bus: Bus,
        workplace: Workplace,
        results: JobResults,
        secret: SiteSecret,
        carriers: Sequence[tuple[Destination, Carrier]],
        asking: Asking,
    ) -> list[StepPool]:
        """One for each step that this machine takes with a job: convert, stage and encode."""
        ledger, config = self._ledger, self.config
        takes = {to.name: partial(asking.takes, to.name) for to, _ in carriers}
        holdings = {to.name: carrier.holdings for to, carrier in carriers if carrier.holdings is not None}
        stage = Stage(ledger, workplace, self._store.objects, kept_here(config))
        encode = Encode(ledger, workplace, results, config, secret.tracking_key(), takes, holdings)
        steps: tuple[tuple[str, JobState, Step], ...] = (
            ("convert", JobState.PLANNED, Convert(ledger, workplace)),
            ("stage", JobState.CONVERTED, stage),
            ("encode", JobState.SEGMENTED, encode),
        )
        return [StepPool.of(*step, ledger, bus, config.queue.stage_workers) for step in steps]

    def _api_server(self) -> "ApiServer":
        # Late: what it is made with takes a quarter of the start, for which no sender has to wait.
        from gateway.api.app import create_api
        from gateway.api.callers.addresses import keep_to_addresses
        from gateway.api.connections import HttpLimits
        from gateway.api.live.live import live_feed
        from gateway.api.overview.premises import Premises
        from gateway.api.probes.gateway_figures import GatewayFigures, gateway_collectors
        from gateway.api.server import ApiServer

        ledger, config = self._ledger, self.config
        put_aside = PutAside(ledger, self._intake)
        api = create_api(
            LedgerStore(ledger, self._arrival.waits_for, Links(config.api.viewer_url, config.aws.region)),
            LedgerActions(ledger, put_aside.take_in, self._tries.addresses, self._reprocessing.planned),
            self.readiness,
            live_feed(ledger),
            self._access,
            JobFolderFiles(self._store.objects),
            self._uploads,
            pictures_from=self._store.origin(),
            mirror=MirrorControl(ledger, self._mirror, config.mirror.keep_days),
            door=self.listener.state,
            stow=self.listener.stow,
            premises=Premises(config, ledger, self._workers, self._of_aws(), self._tries),
            put_aside=put_aside,
            collectors=gateway_collectors(
                GatewayFigures(ledger, self.readiness, self._identity, list(self._tries.addresses)),
                self._computing.figures,
                self.listener.figures,
                *(pool.figures for pool in self._pools),
                *(telling.figures for telling in self._notifying),
            ),
            upload_room=self._uploads,
            tokens=self._tokens,
            people=self._people,
        )
        keep_to_addresses(api, config.api.addresses)
        limits = HttpLimits(connections=http_share(self._descriptors))
        return ApiServer(api, config.api.host, config.api.port, limits, config.api.proxies)

    def _of_aws(self) -> frozenset[str]:
        """The names of the workers that use something of AWS."""
        is_batch = self.config.queue.backend == "batch"
        at_the_queue = ["submit", *(worker.name for worker in self._computing.workers)] if is_batch else []
        of_jobs = [worker.name for pool in self._pools if pool.step != "convert" for worker in pool.workers]
        at_the_bucket = of_jobs if "bucket" in self.config.objects.facts.needs else []
        return frozenset(["mirror", "mirror counts", "watch", *at_the_queue, *at_the_bucket])

    @property
    def page_address(self) -> str:
        """The status page's address, once started, with a code that signs in once within ten minutes."""
        assert self.api is not None
        host, port = self.api.address
        has_codes = not self._access.is_open and self._people is None
        code = f"?code={self._access.new_code(ADMIN)}" if has_codes else ""
        return f"http://{_in_url(host)}:{port}/{code}"

    def start(self, dicom_port: socket.socket | None = None) -> None:
        """Take up what an earlier process left, then take what waits at the port.

        Parameters
        ----------
        dicom_port
            Where it is open already.

        Raises
        ------
        ListenerError, ApiError
            A port cannot be opened.
        """
        for warning in warnings_about(self.config):
            log.warning("configuration", sentence=warning)
        name_studies_of_jobs(partial(study_key_of_job, self._ledger))
        self._descriptors = raise_descriptor_limit()
        _keep_temporary_files_in(self.config.data_dir / "work" / "temporary")
        self._uploads.begin()
        self._computing.start()
        begin_to_sweep(self._store)
        for worker in self._workers:
            if worker not in self._pledging:
                worker.start()
        self.listener.start(dicom_port)
        for pledging in self._pledging:  # they are answered at the port
            pledging.start()
        host, port = self.listener.address
        self._write(DICOM_ADDRESS_NAME, f"{self.config.dicom.ae_title}@{host}:{port}")
        self.api = self._api_server()
        self.api.start()
        api_host, api_port = self.api.address
        self._write(API_ADDRESS_NAME, f"http://{_in_url(api_host)}:{api_port}")
        log.info("gateway_started", version=metadata.version("iris-gateway"))

    def stop(self) -> Sequence[str]:
        """End everything at once; what is open goes on at the next start.

        Returns
        -------
        The names of parts that did not end in time: they hang.
        """
        for name in (DICOM_ADDRESS_NAME, API_ADDRESS_NAME):
            (self.config.data_dir / name).unlink(missing_ok=True)
        parts: dict[str, Callable[[], object]] = {
            "listener": self.listener.stop,
            **({"api": self.api.stop} if self.api is not None else {}),
            "computing": self._computing.stop,
            **{worker.name: worker.stop for worker in self._workers},
        }
        hanging = stop_together(parts) or stop_together({"ledger": self._ledger.close})
        log.info("gateway_stopped", hanging=list(hanging))
        return hanging

    def readiness(self) -> Readiness:
        """Whether instances can be taken, and what is wrong elsewhere."""
        reasons = [self._ledger.damage] if self._ledger.damage else []
        if not self.listener.is_listening:
            reasons.append("the DICOM listener is not running")
        if disk := self._disk_complaint():
            reasons.append(disk)
        degraded = [
            f"{worker.name}: {complaint}" for worker in self._workers for complaint in worker.complaints()
        ]
        if self._people is not None and self._people.complaint:
            degraded.append(f"sign-in: {self._people.complaint}")
        return Readiness(not reasons, tuple(reasons), tuple(degraded))

    def _disk_complaint(self) -> str:
        if self._admission.has_room():
            return ""
        free_mb = shutil.disk_usage(self.config.data_dir).free // 1_000_000
        return f"the disk has {free_mb} MB free, under the low-water mark of {self.config.site.low_water_mb}"

    def _troubles(self) -> Sequence[str]:
        now = self.readiness()
        return [*now.reasons, *now.degraded]

    def _write(self, name: str, text: str) -> None:
        (self.config.data_dir / name).write_text(text + "\n", encoding="utf-8")


def _make_data_dir(data_dir: Path) -> None:
    try:
        make_folder(data_dir)
        data_dir.chmod(0o700)  # what lies in it is patients'
    except OSError as error:
        raise ConfigError(
            f"site.data_dir: {data_dir} cannot be made ({os.strerror(error.errno or 0)}); choose another"
        ) from None


def _keep_temporary_files_in(folder: Path) -> None:
    """Images on their way through dcm2niix are patients' too: a kill must not leave them elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    tempfile.tempdir = str(folder)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
