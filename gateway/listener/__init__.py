"""DICOM in: the application entity, who may send, and the way of an instance to the disk."""
