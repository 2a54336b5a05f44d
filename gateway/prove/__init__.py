"""`iris prove`: a site's acceptance test: a phantom goes into the PACS, and what comes back is compared."""
