"""Where voxels lie: positions in the patient, the grid of labels, its axes, and what is cut out of it."""
