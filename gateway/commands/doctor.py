"""Checks what can be checked before and while the gateway runs, and says the fix."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from batch_job.contract import EXIT_DONE
from converter.nifti.conversion import converter_version
from gateway.adapters.checks import Check, Verdict
from gateway.adapters.dicom.contents import PacsContents
from gateway.adapters.errors import OutsideError
from gateway.adapters.tls import Tls, TlsError, TlsFiles
from gateway.backends.pacs import pacs_contents
from gateway.config import Config, ConfigError, Destination
from gateway.configured import task_rules, warnings_about
from gateway.delivery.asking import ASKING, ask, wanted_forms
from gateway.delivery.carriers.catalogue import carrier_of
from gateway.delivery.trying import try_destination
from gateway.delivery.unclaimed import in_words, unclaimed
from gateway.files.names import LEDGER_NAME
from gateway.files.site_secret import complaint_about, complaint_without_a_ledger
from gateway.ledger.store import Ledger, LedgerBehind, LedgerError

from .doctor_aws import examine_aws
from .doctor_commitment import examine_commitment
from .doctor_notify import examine_notify
from .doctor_sign_in import examine_sign_in
from .status_client import StatusClient

ENGINE_TIMEOUT_S = 120.0


def examine(config: Config) -> Iterator[Check]:
    """Check configuration, disk, secret, ledger, converter, engine, ports, every destination, and AWS."""
    yield from _configuration(config)
    running = StatusClient(config.data_dir).is_running()
    yield _disk(config)
    yield _secret(config)
    yield _ledger(config)
    yield _converter()
    yield from _engine(config)
    yield from _gateway(config, running=running)
    yield from examine_sign_in(config)
    yield from _own_tls(config)
    for destination in config.destination:
        yield from _destination(config, destination)
        yield from examine_commitment(config, destination)
    yield from _pacs(config)
    yield from examine_notify(config, running=running)
    yield from examine_aws(config)


def _configuration(config: Config) -> Iterator[Check]:
    try:
        rules = task_rules(config, config.engine.facts)
    except ConfigError as error:
        yield Check("rules", Verdict.FAILED, str(error), "correct the rule")
        return
    takes = ", ".join(f"{rule.rule.name} ({rule.task})" for rule in rules) or "none: nothing is segmented"
    yield Check("rules", Verdict.OK if rules else Verdict.WARNING, takes, "" if rules else "add a [[rule]]")
    for warning in warnings_about(config):
        finding, _, fix = warning.partition("; ")
        yield Check("configuration", Verdict.WARNING, finding, fix)


def _disk(config: Config) -> Check:
    folder = config.data_dir
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            free_mb = shutil.disk_usage(folder).free // 1_000_000
    except OSError as error:
        return Check("disk", Verdict.FAILED, f"{folder}: {error.strerror}", "make site.data_dir writable")
    if free_mb < config.site.low_water_mb:
        finding = f"{free_mb} MB free, under site.low_water_mb = {config.site.low_water_mb}"
        return Check("disk", Verdict.FAILED, finding, "free some space: new associations are rejected")
    return Check("disk", Verdict.OK, f"{free_mb / 1000:.1f} GB free in {config.data_dir}")


def _secret(config: Config) -> Check:
    path, ledger_path = config.secret_path, config.data_dir / LEDGER_NAME
    complaint = ""
    try:
        with Ledger(ledger_path, read_only=True) as ledger:
            complaint = complaint_about(ledger, path)
    except ConfigError as error:
        complaint = str(error)
    except LedgerError:  # there is none yet, or it is said below
        complaint = complaint_without_a_ledger(config.data_dir, path)
    if complaint:
        finding, _, fix = complaint.partition("; ")
        return Check("site secret", Verdict.FAILED, finding, fix)
    if not path.exists():
        return Check("site secret", Verdict.OK, "is made at the first start; back it up then")
    if path.stat().st_mode & 0o077:
        return Check("site secret", Verdict.FAILED, f"{path} can be read by others", f"chmod 600 {path}")
    return Check("site secret", Verdict.OK, f"{path}: keep a copy, losing it changes every identity")


def _ledger(config: Config) -> Check:
    path = config.data_dir / LEDGER_NAME
    if not path.exists():
        return Check("ledger", Verdict.OK, "is made at the first start")
    try:
        with Ledger(path, read_only=True) as ledger:
            version = ledger.read("PRAGMA user_version")[0][0]
            ledger.check()
            studies = ledger.read("SELECT coalesce(sum(number), 0) FROM counts WHERE kind = 'study'")[0][0]
            damage = ledger.damage
    except LedgerBehind as behind:
        finding = f"schema {behind.version}, of an earlier version: the next start brings it up to date"
        return Check("ledger", Verdict.OK, f"{finding}, after a backup")
    except (LedgerError, OSError) as error:
        damage = str(error)
    if damage:
        finding, _, fix = damage.partition("; ")
        return Check("ledger", Verdict.FAILED, finding, fix or "look at the disk")
    return Check("ledger", Verdict.OK, f"schema {version}, {studies} studies")


def _converter() -> Check:
    try:
        return Check("converter", Verdict.OK, converter_version())
    except (OSError, subprocess.SubprocessError, ImportError):
        return Check("converter", Verdict.FAILED, "dcm2niix does not start", "pip install dcm2niix")


def _engine(config: Config) -> Iterator[Check]:
    """Ask the engine, where its jobs run on this machine, about each task of the rules, and try it."""
    if config.queue.backend != "local":
        return
    try:
        rules = task_rules(config, config.engine.facts)
    except ConfigError:  # said already
        return
    wanted = {(rule.task, json.dumps(rule.compiled.rule.options, sort_keys=True)) for rule in rules}
    for task, options in sorted(wanted):
        yield _engine_for(config, task, options)


def _engine_for(config: Config, task: str, options: str) -> Check:
    command = [sys.executable, "-m", "batch_job", "check", config.engine.name, task, options]
    name, look = f"engine for {task}", f"run {' '.join(command[1:6])} and look"
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **config.engine.settings.variables()},
    ) as asked:
        try:
            out, err = asked.communicate(timeout=ENGINE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            asked.kill()
            out, _ = asked.communicate()
            if not out:
                return Check(name, Verdict.FAILED, "does not answer", look)
            late = f"its reference case was not done in {ENGINE_TIMEOUT_S:.0f} s, as may be without a GPU"
            return Check(name, Verdict.WARNING, f"{out.strip()}; {late}", look)
    if asked.returncode == EXIT_DONE:
        return Check(name, Verdict.OK, "; ".join(out.splitlines()))
    finding, _, fix = (err.strip().splitlines() or ["says nothing"])[-1].partition("; ")
    return Check(name, Verdict.FAILED, finding, fix or "install what is missing")


def _gateway(config: Config, *, running: bool) -> Iterator[Check]:
    if running:
        yield from _running(StatusClient(config.data_dir).readiness() or {})
        return
    yield Check("gateway", Verdict.OK, "is not running; start it with `iris serve`")
    yield from _unclaimed(config)
    for name, host, port in (
        ("dicom.port", config.dicom.host, config.dicom.port),
        ("api.port", config.api.host, config.api.port),
    ):
        yield _port(name, host, port)


def _unclaimed(config: Config) -> Iterator[Check]:
    """What waits for destinations that are not configured; a running gateway says it itself."""
    with suppress(LedgerError, OSError, sqlite3.Error):  # said already
        with Ledger(config.data_dir / LEDGER_NAME, read_only=True) as ledger:
            found = unclaimed(ledger, {destination.name for destination in config.destination})
        for backlog in found:
            finding, _, fix = in_words(backlog).partition("; ")
            yield Check("deliveries", Verdict.FAILED, finding, fix)


def _running(readiness: dict[str, Any]) -> Iterator[Check]:
    """What a running gateway says of itself: each thing that is wrong is a failure of its own, by name."""
    yield Check("gateway", Verdict.OK, "is running")
    said = [("gateway", reason) for reason in readiness.get("reasons", [])]
    said += [(name, what) for name, _, what in (r.partition(": ") for r in readiness.get("degraded", []))]
    said = [(name, what) for name, what in said if name != ASKING]  # asked here, a row each
    for name, what in said:
        finding, _, fix = what.partition("; ")
        yield Check(name, Verdict.FAILED, finding, fix or "see the gateway's log")


def _port(name: str, host: str, port: int) -> Check:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        finding = f"{host}:{port} cannot be opened ({error.strerror})"
        return Check(name, Verdict.FAILED, finding, f"choose another {name}, or end what holds it")
    return Check(name, Verdict.OK, f"{host}:{port} is free")


def _own_tls(config: Config) -> Iterator[Check]:
    tls = config.dicom.tls
    if tls.is_wanted:
        try:
            Tls(TlsFiles(tls.client_ca, tls.certificate, tls.key), is_server=True)
        except TlsError as error:
            yield _tls_failed("dicom.tls", error)
        else:
            yield Check("dicom.tls", Verdict.OK, f"{tls.certificate} can be used")


def _pacs(config: Config) -> Iterator[Check]:
    if config.study.find.is_wanted:
        yield _asked("PACS of study.find", partial(pacs_contents, config))


def _destination(config: Config, to: Destination) -> Iterator[Check]:
    try:
        carrier = carrier_of(config, to)
    except TlsError as error:
        yield _tls_failed(f"destination {to.name}", error)
    else:
        yield from try_destination(config, to, carrier, lambda: ask(carrier, wanted_forms(config, to)))


def _asked(name: str, peer_of: Callable[[], PacsContents | None]) -> Check:
    try:
        peer = peer_of()
        assert peer is not None  # the configuration names it
        return Check(name, Verdict.OK, f"{peer} {peer.check()}")
    except OutsideError as error:
        finding, _, fix = str(error).partition("; ")
        return Check(name, Verdict.FAILED, finding, fix)
    except TlsError as error:
        return _tls_failed(name, error)


def _tls_failed(name: str, error: TlsError) -> Check:
    return Check(name, Verdict.FAILED, str(error), "correct the names in tls, or put the files there")
