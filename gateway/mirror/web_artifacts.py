"""A job's files where the present web client looks for them: below `results/{jobId}/` of the bucket."""

import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from batch_job.contract import INPUT_NAMES, LABELS_NAME, MANIFEST_NAME, ContractError, Manifest
from gateway.adapters.objects import ObjectStore, job_object, job_prefix

OBJ: Final = "Result.obj"
MTL: Final = "materials.mtl"
JSON: Final = "Result.json"
ZIP: Final = "result.zip"
NAMES: Final[Mapping[str, str]] = {
    "surface.obj": OBJ,
    "surface.mtl": MTL,
    "surface.json": JSON,
    LABELS_NAME: "segmentations.nii.gz",
}
"""What the client calls the files of a job."""
_MATERIALS_HERE, _MATERIALS_THERE = b"\nmtllib surface.mtl\n", f"\nmtllib {MTL}\n".encode()
_OLDEST: Final = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive: the same files give the same bytes."""


class WebArtifacts:
    """Copies them there, and takes them away.

    Parameters
    ----------
    jobs
        Where job folders lie.
    web
        The same bucket, from its root.
    """

    def __init__(self, jobs: ObjectStore, web: ObjectStore) -> None:
        self._jobs = jobs
        self._web = web

    def addresses(self, job_id: str) -> dict[str, str]:
        """Where the files of a result are or will be, by the client's own names of kinds."""
        folder = self._web.address(_folder(job_id))
        kinds = {"obj": OBJ, "mtl": MTL, "json": JSON, "zip": ZIP}
        return {kind: f"{folder}{name}" for kind, name in kinds.items()}

    def image(self, job_key: str) -> str:
        """Where the image of a job is."""
        return f"{self._jobs.address(job_prefix(job_key))}{INPUT_NAMES[0]}"

    def publish(self, job_key: str, job_id: str, files: Collection[str]) -> dict[str, str]:
        """Copy what there is of these files, unless it is there already; the archive comes last.

        Returns
        -------
        dict
            The addresses of what is there, as `addresses` has them.

        Raises
        ------
        Retriable, Permanent, OSError
        """
        wanted = [name for name in NAMES if name in files]
        sources = {name: place for name in wanted if (place := self._place(job_key, name))}
        changed = [at for place in sources.values() if (at := self._jobs.modified_at(place))]
        if not changed:
            return {}
        copied = self._web.modified_at(f"{_folder(job_id)}{ZIP}")
        if copied is None or copied < max(changed):
            self._copy(sources, job_id)
        there = {NAMES[name] for name in sources} | {ZIP}
        return {
            kind: address
            for kind, address in self.addresses(job_id).items()
            if address.rpartition("/")[2] in there
        }

    def remove(self, job_id: str) -> None:
        """Remove all of it.

        Raises
        ------
        Retriable, Permanent
        """
        self._web.remove(_folder(job_id))

    def _place(self, job_key: str, name: str) -> str | None:
        """The key of a file of the job; None where it has none."""
        if name != LABELS_NAME:
            return job_object(job_key, name)
        content = self._jobs.get(job_object(job_key, MANIFEST_NAME))
        try:
            where = Manifest.from_json(content).where(name) if content is not None else None
        except (ContractError, KeyError):
            return None
        return job_object(job_key, where) if where is not None else None

    def _copy(self, sources: Mapping[str, str], job_id: str) -> None:
        with tempfile.TemporaryDirectory(prefix="iris-web-") as name:
            folder = Path(name)
            for source, key in sources.items():
                target = folder / NAMES[source]
                if not self._jobs.fetch(key, target):
                    continue
                if target.name == OBJ:
                    content = target.read_bytes()
                    target.write_bytes(content.replace(_MATERIALS_HERE, _MATERIALS_THERE, 1))
            files = sorted(folder.iterdir())
            with zipfile.ZipFile(folder / ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in files:
                    archive.writestr(
                        zipfile.ZipInfo(file.name, _OLDEST), file.read_bytes(), zipfile.ZIP_DEFLATED
                    )
            for file in [*files, folder / ZIP]:
                self._web.put_file(f"{_folder(job_id)}{file.name}", file)


def _folder(job_id: str) -> str:
    return f"results/{job_id}/"
