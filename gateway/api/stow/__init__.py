"""STOW-RS: DICOM objects by HTTP, and what is answered."""
