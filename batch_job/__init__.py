"""The batch job: knows its job folder and an engine, nothing of the gateway or of DICOM."""
