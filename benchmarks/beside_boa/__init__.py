"""A whole way, from the PACS and back, beside that of BOA (UMEssen/Body-and-Organ-Analysis), with mishaps.

`python -m benchmarks.beside_boa CHECKOUT`: 60 studies go to `iris serve`, or to BOA's own Orthanc callback,
queue and task, by the same plan and with the same things going wrong; then it is counted for how many the
right segmentation is in the PACS exactly once. Nothing of BOA is part of this repository: a checkout is read.
"""
