"""The makers: each makes one output of a job; the catalogue (`gateway.config.outputs`) names them."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from datetime import datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batch_job.contract import STATISTICS_NAME, Manifest
from converter.measures import Measurement
from converter.results.comparison import Comparison
from converter.results.labelled import Labelled
from converter.results.settings import Algorithm, QualityFlag, Terms, WrittenObject
from converter.seg.encoder import Encoding
from converter.series import Volume
from converter.uids import derived_uid
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.files.results import ResultUnusable
from gateway.ledger.records import JobRow
from gateway.workers.attempts import CannotGoOn


@dataclass(frozen=True, eq=False)
class Making:
    """What there is to make an output of: one job's result, and what is said about each object of it."""

    job: JobRow
    volume: Volume
    """The images, as the ledger froze them."""
    labels: NDArray[np.uint8]
    """(frames, rows, columns), on the volume's frames; all 0 only for what says that nothing was found."""
    labels_on: Callable[[Volume], NDArray[np.uint8]]
    """The same labels on another volume's frames."""
    labels_sha256: str
    manifest: Manifest
    """With the names of the labels, and the names of the job's other files."""
    flags: tuple[QualityFlag, ...]
    """Those that every object shows."""
    file_of_job: Callable[[str], Path]
    """Fetches another file of the job by its name ("statistics.json"), its digest compared."""
    keep_in_job: Callable[[Path], None]
    """Puts a file into the job's folder under its own name, in the place of an earlier one."""
    header_sha256: str
    """Of what the objects take over from the images."""
    algorithm: Algorithm
    terms: Terms
    made_at: datetime
    """In the site's time zone."""
    issuer_of_patient_id: str
    series_numbers: Mapping[str, int]
    """By output."""
    series_description: str
    tracking_key: bytes
    path_of: Callable[[str], Path]
    """Where an object with this SOP Instance UID is to lie."""
    shows_flags: bool = True
    """Whether objects show flags at all; one that does not says so."""
    comparison: Comparison | None = None
    """With an earlier result, where the rule wants it."""
    encodings: tuple[Encoding, ...] = (Encoding(),)
    """In which segmentations are made, each for the destinations that take it."""
    drawings: tuple[str, ...] = ("explicit",)
    """The transfer syntaxes in which pictures of slices are made, by their names."""
    written: Mapping[str, Sequence[WrittenObject]] = field(default_factory=dict)
    """What was made before, by output, in the order of the catalogue: what an object may refer to."""

    @cached_property
    def labelled(self) -> Labelled:
        """The labels with their names, what the job measured of them, and its flags.

        Raises
        ------
        CannotGoOn, LabelsDoNotFit, OSError
        """
        return Labelled(
            self.volume, self.labels, self.manifest.labels, self.flags, self.measured, self.comparison
        )

    @cached_property
    def measured(self) -> Mapping[str, Measurement]:
        """What `statistics.json` has, by structure; a job that wrote none has none.

        Raises
        ------
        CannotGoOn, OSError
        """
        if STATISTICS_NAME not in self.manifest.outputs:
            return {}
        try:
            statistics = json.loads(self.file_of_job(STATISTICS_NAME).read_bytes())
            return {
                name: Measurement(
                    volume_ml=float(of["volume_ml"]),
                    mean=float(of["mean_intensity"]),
                    sd=float(of["std_intensity"]),
                    unit=str(of.get("intensity_unit", "")),
                    is_truncated=bool(of["truncated"]),
                )
                for name, of in statistics.items()
                if {"volume_ml", "mean_intensity", "std_intensity", "truncated"} <= of.keys()
            }
        except (ValueError, TypeError, AttributeError):
            raise ResultUnusable("its statistics are not as the contract says; look at the engine") from None

    def compared_with(self) -> tuple[str, ...]:
        """A part for `said` of what shows the comparison; none where there is none."""
        return () if self.comparison is None else (json.dumps(asdict(self.comparison), default=str),)

    def said(self, output: str, *parts: str) -> dict[str, Any]:
        """What `ResultSettings` want of an object; its UIDs follow from all that its bytes follow from.

        Parameters
        ----------
        parts
            What else goes into the object: its maker's version (`made_with`), how it is encoded.
        """
        said = {
            "series_number": self.series_numbers[output],
            "series_description": self.series_description,
            "task": self.job.task,
        }
        uid = derived_uid(
            self.job.job_key,
            output,
            json.dumps({**said, "made_at": self.made_at.isoformat()}, sort_keys=True),
            f"{self.algorithm.name} {self.algorithm.version} {self.terms.identity()}",
            json.dumps(self.manifest.labels, sort_keys=True),
            json.dumps([astuple(flag) for flag in self.flags]),
            f"{self.tracking_key.hex()} {self.issuer_of_patient_id}",
            self.header_sha256,
            self.labels_sha256,
            *(() if self.shows_flags else ("flags are not shown",)),
            *parts,
        )
        return {
            **said,
            "sop_instance_uid": uid,
            "series_uid": series_uid_of(uid),
            "made_at": self.made_at,
            "shows_flags": self.shows_flags,
            "algorithm": self.algorithm,
            "structures": self.terms.structures,
            "parameters": tuple(f"{name} = {json.dumps(value)}" for name, value in self.job.options.items()),
            "tracking_key": self.tracking_key,
            "issuer_of_patient_id": self.issuer_of_patient_id,
            "label_names": tuple(self.manifest.labels.values()),
            "device_serial_number": _serial_number(self.tracking_key),
        }


def series_uid_of(sop_instance_uid: str) -> str:
    """The series of an object that a job was made: each output has its own."""
    return derived_uid(sop_instance_uid, "series")


def _serial_number(site_key: bytes) -> str:
    """The site's: the same at all gateways that share its secret, whose results are the same objects."""
    return hashlib.sha256(b"device " + site_key).hexdigest()[:16]


class Maker(Protocol):
    """Makes one output."""

    def make(self, making: Making) -> Sequence[WrittenObject]:
        """Write the objects, each durable when this returns; the same work gives the same UIDs and bytes.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        ...


def load_maker(output: str, config: Config) -> Maker:
    """What makes that output.

    Raises
    ------
    CannotGoOn
        This version does not make it: the job was planned by a newer one.
    """
    if output not in OUTPUTS:
        raise CannotGoOn(f"this version does not make the output {output}; install the newer one again")
    module, _, attribute = OUTPUTS[output].maker.partition(":")
    maker: Maker = getattr(import_module(module), attribute)(config)
    return maker
