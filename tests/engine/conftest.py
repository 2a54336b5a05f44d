"""What the engine's tests share: tiny weights, real images, work as the job hands it over.

nnU-Net reads where its weights lie when it is imported, so the variables are set before that, and all tests
share one folder of weights. No test file may import it, or `totalsegmentator.nnunet`, at its top.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
import tiny_weights
from bands import OWN_HU, write_weights
from numpy.typing import NDArray
from pydicom import dcmread

from batch_job.contract import canonical_options
from batch_job.engines import Segmented, Work, load_engine
from batch_job.engines.totalsegmentator import TotalSegmentator, proven
from batch_job.engines.totalsegmentator.plan import SubModel
from batch_job.image import read_image

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The weights that all tests share, as the only ones there are; read only."""
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TOTALSEG_WEIGHTS_PATH", "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, str(folder))
        patch.setenv("nnUNet_def_n_proc", "2")
        patch.setenv("TOTALSEG_HOME_DIR", str(tmp_path_factory.mktemp("no-home")))
        patch.delenv("IRIS_TOTALSEG_LICENSE", raising=False)
        yield folder


@pytest.fixture(scope="session")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one's own as nnU-Net leaves it: two folds of a tiny network, four tissues of a CT."""
    configuration = "nnUNetTrainer__nnUNetPlans__3d_fullres"
    model = SubModel(501, "Dataset501_Tissues", configuration, (0, 1), (3.0, 3.0, 3.0))
    labels = {name: value for value, name in enumerate(OWN_HU) if value}
    return tiny_weights.write(tmp_path_factory.mktemp("own"), model, labels, OWN_HU, patch=32)


@pytest.fixture(scope="session", autouse=True)
def asked() -> Iterator[list[str]]:
    """What was asked of the network, which refuses."""
    addresses: list[str] = []

    def refuse(session: object, method: str, url: str, **kwargs: Any) -> None:
        addresses.append(url)
        raise requests.ConnectionError("the tests have no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.Session, "request", refuse)
        yield addresses


@pytest.fixture(autouse=True)
def nothing_is_asked(asked: list[str]) -> Iterator[None]:
    """Nothing may be asked of the network, neither in a test nor in what it shares with others."""
    yield
    assert asked == []


# -- images -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def torso() -> Path:
    """A real CT of the torso, 122 x 101 x 30 voxels of 3 mm, RAS."""
    return DATA / "ct-torso-3mm" / "ct.nii.gz"


@pytest.fixture(scope="session")
def quarter(tmp_path_factory: pytest.TempPathFactory, torso: Path) -> Path:
    """The back of the torso with its spine, 61 x 51 x 30 voxels: what the five networks run on."""
    source = nib.load(torso)
    path = tmp_path_factory.mktemp("quarter") / "quarter.nii.gz"
    nib.save(source.slicer[30:91, :51], path)
    return path


@pytest.fixture(scope="session")
def mr() -> Path:
    """A real MR, 117 x 91 x 20 voxels of 3 mm, whose axes run to the left, back and top."""
    return DATA / "mr-3mm" / "mr.nii.gz"


@pytest.fixture(scope="session")
def tall_torso(tmp_path_factory: pytest.TempPathFactory, torso: Path) -> Path:
    """The torso three times on top of itself, every second voxel: 61 x 51 x 90, tall enough to be cut."""
    source = nib.load(torso)
    values = np.tile(np.asanyarray(source.dataobj)[::2, ::2], (1, 1, 3))
    path = tmp_path_factory.mktemp("tall") / "tall.nii.gz"
    nib.save(nib.Nifti1Image(values, source.affine), path)
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo study's middle: 256 x 256 x 20, 0.98 x 0.98 x 2 mm, axes to the left, front and top."""
    slices = [dcmread(path) for path in sorted((DATA / "ct-abdomen-jpeg2000").glob("*.dcm"))]
    slices.sort(key=lambda each: float(each.ImagePositionPatient[2]))
    first, second = slices[0], slices[1]
    hu = [each.pixel_array * float(each.RescaleSlope) + float(each.RescaleIntercept) for each in slices]
    values = np.stack(hu).astype(np.int16).transpose(2, 1, 0)[:, ::-1]  # columns, rows from the back, slices
    row_mm, column_mm = map(float, first.PixelSpacing)
    x, y, z = map(float, first.ImagePositionPatient)
    affine = np.diag([-column_mm, row_mm, float(second.ImagePositionPatient[2]) - z, 1.0])
    affine[:3, 3] = (-x, -y - row_mm * (values.shape[1] - 1), z)
    path = tmp_path_factory.mktemp("demo") / "demo.nii.gz"
    nib.save(nib.Nifti1Image(values, affine).slicer[128:384, 128:384], path)
    return path


# -- work -------------------------------------------------------------------------------------------------


class FolderCheckpoints:
    """Checkpoints in a folder; counts what is put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put_names: list[str] = []

    def get(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.is_file() else None

    def put(self, name: str, path: Path) -> None:
        shutil.copyfile(path, self.folder / name)
        self.put_names.append(name)


@dataclass
class Run:
    """What came of a piece of work."""

    segmented: Segmented
    engine: TotalSegmentator
    image: NDArray[Any]
    checkpoints: FolderCheckpoints
    told: list[tuple[float, str]] = field(default_factory=list)

    @property
    def labels(self) -> NDArray[np.uint8]:
        return self.segmented.labels

    @property
    def found(self) -> set[str]:
        """The names of the structures that occur."""
        return {self.segmented.names[int(value)] for value in np.unique(self.labels) if value}

    @property
    def values(self) -> dict[str, int]:
        """Name to value."""
        return {name: value for value, name in self.segmented.names.items()}


Segment = Callable[..., Run]


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    """`segment(source, task, **options)`: what the engine makes of it."""
    return _segment_in(tmp_path)


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """TotalSegmentator's own way is taken, as with a version that the way inside was not proven for."""
    monkeypatch.setitem(proven.VERSIONS, "nnunetv2", "2.0")


@pytest.fixture(scope="session")
def five_parts(weights: Path, tmp_path_factory: pytest.TempPathFactory, quarter: Path) -> Run:
    """What the five parts of `total` make of a quarter of the torso."""
    return _segment_in(tmp_path_factory.mktemp("five-parts"))(quarter)


@pytest.fixture(scope="session")
def fast(weights: Path, tmp_path_factory: pytest.TempPathFactory, torso: Path) -> Run:
    """What the fast model makes of the torso."""
    return _segment_in(tmp_path_factory.mktemp("fast"))(torso, fast=True)


def _segment_in(folder: Path) -> Segment:
    """Checkpoints are those of a folder; each run has its own scratch there."""
    number = iter(range(100))

    def run(source: Path, task: str = "total", **options: Any) -> Run:
        scratch, kept = folder / f"scratch-{next(number)}", folder / "checkpoints"
        scratch.mkdir()
        kept.mkdir(exist_ok=True)
        checkpoints, told = FolderCheckpoints(kept), []
        image = read_image(source)
        engine = load_engine("totalsegmentator")
        assert isinstance(engine, TotalSegmentator)
        work = Work(
            image=image,
            source=source,
            task=task,
            options=canonical_options("totalsegmentator", task, options),
            scratch=scratch,
            checkpoints=checkpoints,
            on_progress=lambda share, what: told.append((share, what)),
        )
        return Run(engine.segment(work), engine, image.values, checkpoints, told)

    return run
