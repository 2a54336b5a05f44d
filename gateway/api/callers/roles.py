"""Which role each operation needs: one table, and what is not in it needs an admin."""

import re
from collections.abc import Mapping
from typing import Final

from starlette.routing import compile_path
from starlette.types import Scope

from gateway.config.roles import Role

NEEDS: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.VIEWER: (
        "GET /",
        "GET /page/{file:path}",
        "GET /metrics",
        "GET /docs",
        "GET /openapi.json",
        "GET /api/v1/overview",
        "GET /api/v1/history",
        "GET /api/v1/studies",
        "GET /api/v1/studies/{study}",
        "GET /api/v1/traits",
        "GET /api/v1/jobs/{job_key}",
        "GET /api/v1/jobs/{job_key}/labels.nii.gz",
        "GET /api/v1/jobs/{job_key}/preview.png",
        "GET /api/v1/jobs/{job_key}/statistics.json",
        "GET /api/v1/jobs/{job_key}/surface.glb",
        "GET /api/v1/jobs/{job_key}/surface.json",
        "GET /api/v1/jobs/{job_key}/surface.mtl",
        "GET /api/v1/jobs/{job_key}/surface.obj",
        "GET /api/v1/quarantine",
        "GET /api/v1/quarantine/{key}",
        "GET /api/v1/events",
        "GET /api/v1/destinations",
        "GET /api/v1/tasks",
        "GET /api/v1/mirror",
        "GET /api/v1/door",
    ),
    Role.OPERATOR: (
        "POST /api/v1/studies/{study}/complete",
        "POST /api/v1/studies/{study}/use",
        "POST /api/v1/jobs/{job_key}/retry",
        "POST /api/v1/jobs/{job_key}/cancel",
        "POST /api/v1/jobs/{job_key}/priority",
        "POST /api/v1/jobs/{job_key}/reprocess",
        "POST /api/v1/deliveries/{key}/retry",
        "POST /api/v1/deliveries/{key}/resend",
        "POST /api/v1/deliveries/{key}/redirect",
        "POST /api/v1/deliveries/{key}/drop",
        "POST /api/v1/quarantine/{key}/release",
        "POST /api/v1/quarantine/{key}/dismiss",
        "POST /api/v1/destinations/{name}/test",
        "POST /api/v1/actions",
        "POST /api/v1/nifti",
        "POST /api/v1/nifti/{job_key}/start",
    ),
    Role.ADMIN: (
        "POST /api/v1/studies/{study}/forget",
        "DELETE /api/v1/studies/{study}",
        "GET /api/v1/quarantine/{key}/header",
        "GET /api/v1/quarantine/{key}/object",
        "POST /api/v1/mirror/rebuild",
        "GET /api/v1/tokens",
        "POST /api/v1/tokens",
        "POST /api/v1/tokens/{name}/revoke",
        "POST /api/v1/sign-in-codes",
    ),
    Role.SENDER: (
        "POST /dicom-web/studies",
        "POST /dicom-web/studies/{study_uid}",
    ),
}
"""Method and path of each operation, as OpenAPI has them."""
ANYBODY: Final = ("GET /api/v1/me", "POST /sign-out")
"""For whoever is known, whatever the role."""
OPEN: Final = ("GET /healthz", "GET /readyz")
"""For whoever asks."""


def _compiled() -> list[tuple[str, re.Pattern[str], Role | None]]:
    table: list[tuple[Role | None, tuple[str, ...]]] = [*NEEDS.items(), (None, ANYBODY)]
    lines = [(role, line.partition(" ")) for role, lines in table for line in lines]
    return [(method, compile_path(path)[0], role) for role, (method, _, path) in lines]


_TABLE: Final = _compiled()


def needed_role(scope: Scope) -> Role | None:
    """The role that a request needs; None: any will do."""
    method = "GET" if scope["method"] in ("HEAD", "OPTIONS") else scope["method"]
    return next(
        (role for of, path, role in _TABLE if of == method and path.match(scope["path"])),
        Role.ADMIN,
    )
