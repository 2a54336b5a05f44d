"""Data sets that are wrong in every way are answered, kept, and told of in log lines only.

`IRIS_MUTATIONS` says how many (20,000), `IRIS_MUTATIONS_SEED` repeats those of a run that failed.
"""

import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from converter.derived.multiframe import write_multiframe
from converter.derived.series import MadeUpStudy, SliceStack
from tests.conftest import DATA
from tests.mutations import Base, bases_of, mutated
from tests.process import peak_memory_mb
from tests.wire import Line, address_of

from .log_lines import log_lines

MUTATIONS = int(os.environ.get("IRIS_MUTATIONS", "20000"))
SEED = int(os.environ.get("IRIS_MUTATIONS_SEED") or random.SystemRandom().randrange(1_000_000))
SENDERS = 4
IN_ONE_STUDY = 50
UNDER_A_KNOWN_UID = 0.15
"""So many come under the SOP Instance UID of the one before."""
MEMORY_MB = 600.0
"""What the gateway may hold at most: a deflated data set, decoded images and what it is made of."""
FAILURES = {"instance_not_durable", "study_lacks_files"}
"""In the log: what was acknowledged cannot be kept, or not be read afterwards."""
ENDS = ("done", "failed", "held")
ANSWERS = {0x0000, 0xB007, 0xC000}
PREAMBLE_BYTES, GROUP_LENGTH_BYTES = 132, 12


@dataclass(frozen=True)
class Sent:
    """One data set, and what it was answered."""

    base: str
    sha256: str
    status: int
    is_our_own: bool


@pytest.fixture
def sound_files(write_study: Callable[..., str], tmp_path: Path) -> dict[str, Path]:
    """A file of each kind: a plain CT, a multi-frame one, compressed ones, of several makers."""
    write_study(tmp_path / "ct", seed="mutations", slices=1)
    stack = SliceStack(
        pixels=np.arange(4 * 16 * 16, dtype=np.int16).reshape(4, 16, 16),
        orientation_lps=[1, 0, 0, 0, 1, 0],
        pixel_spacing_mm=(2.0, 2.0),
        positions_lps_mm=[[0, 0, 5 * number] for number in range(4)],
    )
    write_multiframe(stack, tmp_path / "enhanced.dcm", MadeUpStudy())
    compressed = [path for path in sorted(DATA.glob("oddities/compressed*/*/*")) if path.is_file()]
    return {
        "ct": next((tmp_path / "ct").iterdir()),
        "enhanced": tmp_path / "enhanced.dcm",
        "abdomen": DATA / "ct-abdomen-jpeg2000" / "01.dcm",
        **{path.parts[-3]: path for path in compressed},
    }


class Sender:
    """Sends mutations of sound data sets."""

    def __init__(self, address: tuple[str, int], bases: list[Base], ours: Base) -> None:
        self._address, self._bases, self._ours = address, bases, ours

    def send(self, study: int) -> list[Sent]:
        """Send what makes up one study, over one association."""
        chance = random.Random(f"{SEED} {study}")
        base = chance.choice(self._bases)
        if base is not self._ours or chance.random() < 0.5:
            base = base.in_another_study(chance).as_another_instance(chance)
        one, context, sent = base, (base.sop_class_uid, base.transfer_syntax_uid), []
        with Line(self._address, [context]) as line:
            for _ in range(min(IN_ONE_STUDY, MUTATIONS)):
                content = mutated(chance, one)
                status = line.store(context, one.instance_uid, content)
                is_our_own = one.instance_uid == self._ours.instance_uid
                sent.append(Sent(one.name, hashlib.sha256(content).hexdigest(), status, is_our_own))
                if chance.random() > UNDER_A_KNOWN_UID:
                    one = base.as_another_instance(chance)
        return sent


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_mutated_data_set_is_answered_and_kept_and_nothing_is_printed_but_log_lines(
    make_world: Callable[..., Any],
    recording_pacs: Any,
    write_study: Callable[..., str],
    sound_files: dict[str, Path],
    tmp_path: Path,
) -> None:
    print(f"IRIS_MUTATIONS_SEED={SEED}")
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.start()
    _is_segmented(world, write_study, tmp_path / "before")
    (result,) = (world.data_dir / "results").glob("*/*.dcm")
    bases = bases_of({**sound_files, "ours": result})
    (ours,) = (
        base for base in bases if base.name == "ours" and base.transfer_syntax_uid == ExplicitVRLittleEndian
    )
    sender = Sender(address_of(world.data_dir), bases, ours)
    began = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as threads:
        studies = range(-(-MUTATIONS // IN_ONE_STUDY))
        sent = [one for study in threads.map(sender.send, studies) for one in study]
    seconds = time.monotonic() - began

    answers = Counter(one.status for one in sent)
    print(f"{len(sent)} data sets in {seconds:.0f} s:", {f"{k:04X}": v for k, v in answers.items()})
    assert set(answers) <= ANSWERS
    kept = set(_kept(world.data_dir))
    lost = [one for one in sent if one.sha256 not in kept and not one.is_our_own]
    assert lost == []
    _is_segmented(world, write_study, tmp_path / "after")
    print(f"memory at most {peak_memory_mb(world.gateway_pid()):.0f} MB")
    assert peak_memory_mb(world.gateway_pid()) < MEMORY_MB
    assert world.stop() == 0
    said = list(log_lines(world.log))
    print(dict(Counter(line["event"] for line in said)))
    assert [line for line in said if "places" in line or line["event"] in FAILURES] == []


def _is_segmented(world: Any, write_study: Callable[..., str], folder: Path) -> None:
    study_uid = write_study(folder, seed=folder.name)
    world.send(folder)
    assert world.until(study_uid, lambda study: study["state"] in ENDS)["state"] == "done"


def _kept(data_dir: Path) -> Iterator[str]:
    """Digests of the data sets of all that is kept."""
    for folder in ("instances", "quarantine"):
        for path in (data_dir / folder).rglob("*.dcm"):
            content = path.read_bytes()
            at = PREAMBLE_BYTES + GROUP_LENGTH_BYTES
            yield hashlib.sha256(content[at + int.from_bytes(content[at - 4 : at], "little") :]).hexdigest()
