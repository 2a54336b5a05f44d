"""From a volume's files to its voxels, by dcm2niix and by ourselves; `converter.nifti` is the door.

::

    placing         gives dcm2niix the frames             single_frames   frames as files of their own
    straight        leaning and uneven stacks             dcm2niix        runs it and understands it
    pixels          stored values, read here              decoding        compressed ones, in child processes
    intensities     stored values rescaled, and compared
"""
