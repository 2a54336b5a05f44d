"""What every engine has to keep, kept by those that need nothing but this environment."""

from batch_job.conformance import EngineConformance


class TestThreshold(EngineConformance):
    """The engine `threshold`."""

    engine = "threshold"
