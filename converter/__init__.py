"""DICOM series to NIfTI and back: geometry, segmentations, codes, pictures. No network, no database."""
