"""What the cloud does itself: images that come as NIfTI files, without any gateway, from upload to result."""
