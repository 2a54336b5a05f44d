"""NIfTI files by hand: which tasks there are, an upload, its start. The result is a label map, not DICOM.

One shape for two places. A gateway takes the file itself, and the job begins at once. The status API in the
cloud cannot take large files: it answers with an address that the object store takes the file at, and the
job begins when that is said to be done.
"""

from typing import Annotated

from fastapi import APIRouter, File, Form, Path, Security, UploadFile
from fastapi.security import HTTPBearer

from . import models
from .problems import DOCUMENTED, NOT_IN_THE_CLOUD, documented
from .store import Json, NotFound, Uploads, UploadWish

Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Task = Annotated[str, Form(max_length=64, description="Empty: the engine's own")]
Options = Annotated[str, Form(max_length=4096, description='The task\'s options, as JSON: {"fast": true}')]
Digest = Annotated[
    str | None,
    Form(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file; in the cloud it has to be given"),
]
Size = Annotated[int | None, Form(ge=1, description="Bytes of the file; in the cloud it has to be given")]
Image = Annotated[UploadFile | None, File(description="The image, .nii or .nii.gz; left out in the cloud")]


def nifti_routes(uploads: Uploads) -> APIRouter:
    """The operations on tasks and NIfTI files."""
    router = APIRouter(
        prefix="/api/v1",
        responses=DOCUMENTED | NOT_IN_THE_CLOUD,
        dependencies=[Security(HTTPBearer(auto_error=False))],
        tags=["nifti"],
    )

    @router.get("/tasks", response_model=models.TaskList)
    def list_tasks() -> Json:
        """What the engine here can be asked for, and how files are taken."""
        return uploads.tasks()

    @router.post("/nifti", response_model=models.Upload, status_code=202, responses=documented(413, 507))
    def upload_nifti(
        task: Task = "",
        options: Options = "{}",
        sha256: Digest = None,
        bytes: Size = None,
        file: Image = None,
    ) -> Json:
        """Give an image to segment.

        At a gateway with `file`: it is stored, its header is made anew, and the job begins. In the cloud
        without it: the answer's `put` says where to put exactly that file; then call `start`.
        """
        wish = UploadWish(task, options, sha256, bytes)
        if file is None:
            return uploads.offer(wish)
        return uploads.take(wish, file.file)

    @router.post("/nifti/{job_key}/start", response_model=models.Outcome, status_code=202)
    def start_nifti(job_key: Key) -> Json:
        """Begin with a file that was put; where the job has begun already, nothing happens."""
        outcome = uploads.start(job_key)
        if outcome is None:
            raise NotFound("there is no such upload")
        return outcome

    return router
