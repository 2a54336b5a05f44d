"""What the catalogue says of an engine's results, as the converter takes it, which knows no engine."""

from collections.abc import Mapping
from types import MappingProxyType

from batch_job.contract import EngineFacts, StructureCodes
from converter.label_file import LabelTable
from converter.results.settings import Terms
from converter.terminology import Code, coded_structure

DICOM_SCHEME = "DCM"


def engine_terms(facts: EngineFacts, said: Mapping[str, StructureCodes] = MappingProxyType({})) -> Terms:
    """The family of its algorithm, and codes of structures of its own: the catalogue's, and a result's."""
    code, meaning = facts.algorithm_family
    own = {**facts.structures, **said}
    structures = {name: coded_structure(name, codes.model_dump()) for name, codes in own.items()}
    return Terms(Code(code, DICOM_SCHEME, meaning), structures)


def label_table(facts: EngineFacts, task: str) -> LabelTable:
    """What the values of a label map of a task mean, for one that comes without a manifest."""
    of_task = facts.tasks[task]
    return LabelTable(task, of_task.labels, engine_terms(facts), of_task.modality)
