"""One job at its place: the request, the input, what is written, and when it counts as done."""

import contextlib
from pathlib import Path
from typing import Final

from .contract import (
    CHECKPOINT_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    PROGRESS_NAME,
    REQUEST_NAME,
    ContractError,
    JobRequest,
    Manifest,
    OutputFile,
)
from .errors import BadInput, ComeBackLater
from .place import Claim, JobPlace, file_sha256

TIMES_TO_SETTLE: Final = 5


class Job:
    """What a run reads and writes.

    Parameters
    ----------
    scratch
        A folder of this run's own.
    """

    def __init__(self, place: JobPlace, claim: Claim, scratch: Path) -> None:
        self.place = place
        self.claim = claim
        self.scratch = scratch
        self._fetched = scratch / "fetched"
        self._fetched.mkdir()
        self._unsound: bytes | None = None

    def request(self) -> JobRequest:
        """Read the request.

        Raises
        ------
        BadInput
            It is missing, or not as the contract says.
        """
        content = self.place.get(REQUEST_NAME)
        if content is None:
            raise BadInput("there is no request.json in the job folder")
        try:
            return JobRequest.from_json(content)
        except ContractError as error:
            raise BadInput(str(error)) from None

    def is_done(self, request: JobRequest) -> bool:
        """Whether a manifest of this job stands there with all the outputs that it names."""
        self._unsound = self.place.get(MANIFEST_NAME)
        return self._unsound is not None and self._is_sound(self._unsound, request.job_key)

    def _is_sound(self, content: bytes, job_key: str) -> bool:
        try:
            manifest = Manifest.from_json(content)
        except ContractError:
            return False
        is_a_result = manifest.job_key == job_key and LABELS_NAME in manifest.outputs
        return is_a_result and all(
            self._is_as_named(manifest.where(name), output) for name, output in manifest.outputs.items()
        )

    def _is_as_named(self, name: str, output: OutputFile) -> bool:
        found = self.place.fetch(name, self._fetched)
        return found is not None and found.sha256 == output.sha256

    def forget_results(self) -> None:
        """Remove what must not stand beside other labels; in a bucket these lie elsewhere."""
        if self.claim.is_alone:
            self.place.remove(MANIFEST_NAME)
            self.place.remove(PROGRESS_NAME)
            self._unsound = None

    def input_bytes(self, request: JobRequest) -> int:
        """The size of the input's file.

        Raises
        ------
        BadInput
            There is none.
        """
        size = self.place.size(request.input.name)
        if size is None:
            raise BadInput(f"there is no {request.input.name} in the job folder")
        return size

    def input(self, request: JobRequest) -> Path:
        """The input file on this machine, with the bytes that the request names.

        Raises
        ------
        BadInput
        """
        found = self.place.fetch(request.input.name, self._fetched)
        if found is None:
            raise BadInput(f"there is no {request.input.name} in the job folder")
        if found.sha256 != request.input.sha256:
            raise BadInput(f"{request.input.name} is not the file that the request names; stage it again")
        return found.path

    def keep(self, name: str, path: Path) -> OutputFile:
        """Put an output in its place; the manifest's entry for it."""
        where = self.claim.outputs + name
        entry = OutputFile(
            sha256=file_sha256(path), bytes=path.stat().st_size, path=where if where != name else None
        )
        self.place.put(where, path)
        return entry

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, last of all, unless another attempt has finished.

        Raises
        ------
        ComeBackLater
            What stands there is no result of this job.
        """
        content = manifest.to_json()
        for _ in range(TIMES_TO_SETTLE):
            if self.place.settle(MANIFEST_NAME, content, instead_of=self._unsound):
                break
            found = self.place.get(MANIFEST_NAME)
            if found is not None and self._is_sound(found, manifest.job_key):
                break
            self._unsound = found
        else:
            raise ComeBackLater("the manifest could not be written: others write there all the time")

    def drop_checkpoints(self) -> None:
        """Remove what nobody needs once the job is done; they cost room, no more."""
        with contextlib.suppress(OSError, ComeBackLater):
            self.place.remove(CHECKPOINT_NAME)
