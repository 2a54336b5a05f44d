"""Pictures that came back beside segmentations, as files that anybody can open."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from converter.results.settings import MARK
from gateway.adapters.dicom.peer import Peer

from .outcome import NewSeries
from .retrieval import get
from .workplace import Study

MODALITY: Final = "OT"


@dataclass(frozen=True)
class Pictures:
    """A series of pictures: what it is, as its description begins, and where it lies as PNG."""

    kind: str
    paths: Sequence[Path]

    @property
    def place(self) -> Path:
        """The picture, or the folder of several."""
        return self.paths[0] if len(self.paths) == 1 else self.paths[0].parent


def fetch_pictures(
    peer: Peer, calling_ae_title: str, study: Study, series: Iterable[NewSeries], place: Path
) -> list[Pictures]:
    """Fetch the pictures among these series, and write them into `place`.

    Raises
    ------
    NotReached, DemoError
        The PACS cannot be asked, or does not give them.
    OSError
    """
    found = []
    for one in series:
        if one.modality == MODALITY:
            fetched = get(
                peer,
                calling_ae_title,
                place / "fetched" / "pictures",
                sop_class_uids=[str(SecondaryCaptureImageStorage)],
                study_uid=study.study_uid,
                series_uid=one.series_uid,
            )
            kind = _kind(one.description)
            found.append(Pictures(kind, _written(fetched, place, kind.lower())))
    return found


def _kind(description: str) -> str:
    """The first word of a description, behind the mark of a doubtful result."""
    words = re.findall(r"[A-Za-z0-9]+", description.removeprefix(MARK))
    return words[0] if words else "Picture"


def _written(objects: Sequence[Path], place: Path, name: str) -> list[Path]:
    """As PNG, in the order of their numbers."""
    images = sorted(map(dcmread, objects), key=lambda image: int(image.InstanceNumber))
    several = place / name
    paths = [several / f"{number:04d}.png" for number in range(1, len(images) + 1)]
    if len(images) == 1:
        paths = [place / f"{name}.png"]
    for image, path in zip(images, paths, strict=True):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image.pixel_array).save(path)
    return paths
