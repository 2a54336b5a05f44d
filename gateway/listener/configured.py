"""The listener with its workers, as the configuration says."""

from gateway.config import Config
from gateway.ledger.store import Ledger
from gateway.workers.worker import Worker

from .application_entity import Listener
from .beside.children import how_many
from .custody import commitments_of
from .door.admission import Admission
from .intake.filing import Intake
from .pledged import pledged


def listener_of(
    config: Config, admission: Admission, intake: Intake, ledger: Ledger
) -> tuple[Listener, list[Worker]]:
    """What takes associations, and the workers beside it.

    Raises
    ------
    TlsError
        Certificates or keys cannot be used.
    """
    commitments = commitments_of(config, ledger)
    listener = Listener(
        config.dicom,
        admission,
        config.data_dir / "incoming",
        intake,
        ledger,
        commitments,
        how_many(),
        pledged(config, ledger),
    )
    return listener, [listener.endings, *([commitments] if commitments is not None else [])]
