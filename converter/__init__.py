"""DICOM series to NIfTI and back: geometry, segmentation objects, codes, pictures. No network, no database."""
