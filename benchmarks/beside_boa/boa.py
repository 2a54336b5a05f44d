"""BOA: its callback in Orthanc, RabbitMQ with its configuration, its Celery task in a worker."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.ports import free_port, is_open

from .orthancs import PASSWORD, PLUGINS, USER, Orthanc
from .parts import Part
from .sides import Disk

STORAGE: Final = Path("/storage_directory")
"""Where BOA's compose file mounts its output folder; the name is fixed in its task."""
HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
_WORKER: Final = (
    "celery --app celery_task worker --concurrency=1 --loglevel=INFO",
    "-P threads --without-mingle --without-gossip",
)
"""As in its docker-compose.yml."""
RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@dataclass(frozen=True)
class Installed:
    """BOA's checkout, and Pythons with what its images install.

    `for_orthanc` is a folder with Celery and the like for the Python that Orthanc's plugin was built with;
    `mended` says whether pydicom-seg finds what pydicom 3 no longer has.
    """

    checkout: Path
    worker_python: Path
    for_orthanc: Path
    mended: bool


class Boa:
    """The stack of its docker-compose.yml without Docker: orthanc, rabbitmq, worker."""

    name, ae_title = "BOA", "BOA"

    def __init__(self, folder: Path, installed: Installed, pacs: Orthanc, engine_s: float) -> None:
        self.running = folder / "running"
        self.running.mkdir()
        self._folder, self._disk = folder, Disk(STORAGE)
        self._queue_port, self._epmd_port = free_port(), free_port()
        scripts = installed.checkout / "scripts"
        environment = {
            "CELERY_BROKER": f"amqp://guest:guest@127.0.0.1:{self._queue_port}/",
            "ORTHANC_URL": "http://127.0.0.1",
            "ORTHANC_USERNAME": USER,
            "ORTHANC_PASSWORD": PASSWORD,
        }
        self._orthanc = Orthanc(
            "boa-orthanc",
            self.ae_title,
            folder,
            {
                "Plugins": [str(PLUGINS / "libOrthancPython.so")],
                # As in its orthanc.json.
                "PythonScript": str(scripts / "on_change_callback.py"),
                "PythonVerbose": True,
                "MaximumStorageSize": 100000,
            },
            {**environment, "PYTHONPATH": f"{scripts}:{installed.for_orthanc}"},
        )
        self.port = self._orthanc.port
        self._rabbit = Part(
            "rabbitmq", [str(RABBITMQ)], folder, self._queue_answers, self._of_rabbit(installed.checkout)
        )
        (folder / "tmp").mkdir()
        self._worker = Part(
            "boa-worker",
            [str(installed.worker_python), "-m", *" ".join(_WORKER).split()],
            folder,
            lambda: True,
            {
                **environment,
                "ORTHANC_PORT": str(self._orthanc.http_port),
                "PACS_MODEL": "total",
                "SEGMENTATION_UPLOAD_URL": f"{pacs.url}/dicom-web/",
                "UPLOAD_USER": USER,
                "UPLOAD_PWD": PASSWORD,
                "PYTHONPATH": f"{HERE / 'worker'}:{scripts}:{installed.checkout}:{ROOT}",
                "BESIDE_SECONDS": str(engine_s),
                "BESIDE_RUNNING": str(self.running),
                "BESIDE_MENDED": "1" if installed.mended else "0",
                "TMPDIR": str(folder / "tmp"),
                "HOME": str(folder),
            },
        )

    def _of_rabbit(self, checkout: Path) -> dict[str, str]:
        configuration = self._folder / "rabbitmq.conf"
        configuration.write_text(f"listeners.tcp.local = 127.0.0.1:{self._queue_port}\n", encoding="utf-8")
        plugins = self._folder / "enabled_plugins"
        plugins.write_text("[].\n", encoding="utf-8")
        return {
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": "beside@localhost",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "rabbitmq"),
            "RABBITMQ_LOG_BASE": str(self._folder / "rabbitmq-log"),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(checkout / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    @property
    def disk(self) -> Path:
        """What its compose file mounts."""
        return STORAGE

    def start(self) -> None:
        """Start broker, Orthanc and worker."""
        self._disk.mount()
        for part in (self._rabbit, self._orthanc.part, self._worker):
            part.start()

    def stop(self) -> None:
        """End them, and the port mapper that Erlang left behind."""
        for part in (self._worker, self._orthanc.part, self._rabbit):
            part.stop()
        subprocess.run(
            ["epmd", "-port", str(self._epmd_port), "-kill"],
            check=False,
            capture_output=True,
            env={"PATH": "/usr/bin", "HOME": str(self._folder)},
        )
        self._disk.unmount()

    def kill_worker(self) -> None:
        """Kill Celery; its compose file says `restart: always`."""
        self._worker.kill()
        for mark in self.running.iterdir():
            mark.unlink(missing_ok=True)
        self._worker.start()

    def restart_queue(self, away_s: float) -> None:
        """End RabbitMQ in order, and start it again."""
        self._rabbit.stop()
        time.sleep(away_s)
        self._rabbit.start()

    def _queue_answers(self) -> bool:
        return is_open(self._queue_port)
