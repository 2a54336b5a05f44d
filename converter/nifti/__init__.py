"""NIfTI written and read: a volume's conversion, the file, a label map by planes, an image from elsewhere."""
