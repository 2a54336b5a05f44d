"""What the catalogue says of an engine's results, as the converter takes it, which knows no engine."""

from batch_job.contract import EngineFacts
from converter.label_file import LabelTable
from converter.results.settings import Terms
from converter.terminology import Code, coded_structure

DICOM_SCHEME = "DCM"


def engine_terms(facts: EngineFacts) -> Terms:
    """The family of its algorithm, and the codes of structures of its own."""
    code, meaning = facts.algorithm_family
    structures = {name: coded_structure(name, codes.model_dump()) for name, codes in facts.structures.items()}
    return Terms(Code(code, DICOM_SCHEME, meaning), structures)


def label_table(facts: EngineFacts, task: str) -> LabelTable:
    """What the values of a label map of a task mean, for one that comes without a manifest."""
    of_task = facts.tasks[task]
    return LabelTable(task, of_task.labels, engine_terms(facts), of_task.modality)
