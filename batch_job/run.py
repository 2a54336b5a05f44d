"""One run of a job: fetch, load, segment, measure, preview, save, upload; the manifest last."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .accelerator import accelerator_used
from .address import open_place
from .checkpoints import PlaceCheckpoints, identity_of_work
from .contract import (
    LABELS_NAME,
    PREVIEW_NAME,
    STATISTICS_NAME,
    ContractError,
    Flag,
    JobRequest,
    Manifest,
    ModelError,
    canonical_options,
    engine_facts,
    task_facts,
)
from .ec2_metadata import Machine, this_machine
from .engines import Segmented, Work
from .errors import BadInput, NotSetUp
from .exit import exit_left
from .image import Image, read_image, read_size, write_labels
from .interruption import Interruption
from .job import Job
from .machine import HeldMachine
from .place import Attempt
from .preview import draw_preview
from .progress import ProgressWriter, Stages
from .quality import quality_flags
from .resources import check_disk
from .scratch import scratch_folder
from .shared import Room, Shared
from .statistics import measure

OUTPUTS = (LABELS_NAME, STATISTICS_NAME, PREVIEW_NAME)


def run_in_steps(address: str, attempt: Attempt, shared: Shared) -> Iterator[None]:
    """Do the job at this address, or nothing where it is done.

    Yields
    ------
    None
        Twice, or not at all: when all is there that is to be segmented, and when it is segmented. What is
        before, between and behind may each be done by another thread.

    Raises
    ------
    BadInput
        Address, request or input cannot be used.
    NotSetUp
        The engine lacks weights or a licence.
    ComeBackLater
        Memory, disk or the place itself are not to be had now.
    OwnedByAnother
        Another Batch job works on this run.
    OSError, MemoryError
    """
    held = HeldMachine(this_machine() if attempt.batch_job_id else Machine())
    place = open_place(address)
    with ExitStack() as stack:
        claim = stack.enter_context(place.claimed(attempt))
        if claim.is_alone:
            stack.enter_context(exit_left(place, attempt.run, shared.interruption))
        scratch = stack.enter_context(scratch_folder(place.scratch_parent(shared.temporary)))
        stack.enter_context(shared.interruption.removing(scratch))
        job = Job(place, claim, scratch)
        request = job.request()
        if not job.is_done(request):
            job.forget_results()
            yield from _do(job, request, shared, held)
        job.drop_checkpoints()


def _do(job: Job, request: JobRequest, shared: Shared, held: HeldMachine) -> Iterator[None]:
    options = _checked_options(request)
    engine = shared.engines.get(request.engine).check(request.task, options)
    writer = ProgressWriter(job.place)
    stages = Stages(writer.tell)
    with ExitStack() as to_the_end:
        peak_mb = to_the_end.enter_context(shared.peak_memory.watched())
        with writer.running():
            source, image = _input(job, request, stages, shared.room, to_the_end)
            work = Work(
                image=image,
                source=source,
                task=request.task,
                options=options,
                scratch=_folder(job.scratch / "engine"),
                checkpoints=_checkpoints(job, identity_of_work(request, engine), shared.interruption),
                on_progress=stages.got,
            )
            yield
            with stages.stage("segment"):
                segmented = shared.engines.segment(request.engine, work)
            yield
            made = _folder(job.scratch / "outputs")
            modality = task_facts(request.engine, request.task).modality
            flags = _make_outputs(made, work, segmented, modality, stages)
            to_the_end.enter_context(shared.interruption.finishing_first())
            with stages.stage("upload"):
                outputs = {name: job.keep(name, made / name) for name in OUTPUTS}
                stages.got(1.0)
        # The progress that was told last is written by now: after the manifest nothing is.
        job.finish(
            Manifest(
                job_key=request.job_key,
                outputs=outputs,
                labels=dict(segmented.names),
                engine=engine,
                seconds={**segmented.seconds, **stages.seconds},
                peak_rss_mb=round(peak_mb(), 1),
                attempt=job.claim.attempt,
                machine=held.machine.type,
                machine_use=held.use(stages.seconds),
                accelerator=accelerator_used(),
                notes=segmented.notes,
                structures=dict(segmented.codes),
                flags=flags,
            )
        )


def _checked_options(request: JobRequest) -> dict[str, Any]:
    """The options with their defaults, of an engine and a task that there are."""
    try:
        task_facts(request.engine, request.task)
        return canonical_options(request.engine, request.task, request.options)
    except ModelError as error:
        raise NotSetUp(f"engine.{error}") from None
    except ContractError as error:
        raise BadInput(str(error)) from None


def _input(
    job: Job, request: JobRequest, stages: Stages, room: Room, to_the_end: ExitStack
) -> tuple[Path, Image]:
    """The input, once there is room for it, which is the run's to its end."""
    with stages.stage("fetch"):
        check_disk(job.input_bytes(request), job.scratch)
        source = job.input(request)
    with stages.stage("load"):
        size, bytes_a_voxel = read_size(source), engine_facts(request.engine).bytes_a_voxel
        to_the_end.enter_context(room.taken(size, bytes_a_voxel))
        return source, read_image(source)


def _checkpoints(job: Job, work: str, interruption: Interruption) -> PlaceCheckpoints:
    scratch = _folder(job.scratch / "checkpoint")
    return PlaceCheckpoints(job.place, work, scratch, interruption.finishing_first)


def _make_outputs(
    made: Path, work: Work, segmented: Segmented, modality: str, stages: Stages
) -> tuple[Flag, ...]:
    with stages.stage("measure"):
        statistics = measure(work.image, segmented, modality)
        flags = quality_flags(work.image, segmented.labels, segmented.names, statistics, modality)
        (made / STATISTICS_NAME).write_text(json.dumps(statistics, indent=2) + "\n", encoding="utf-8")
    with stages.stage("preview"):
        draw_preview(work.image, segmented, statistics, made / PREVIEW_NAME)
    with stages.stage("save"):
        write_labels(segmented.labels, work.source, made / LABELS_NAME)
    return flags


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
