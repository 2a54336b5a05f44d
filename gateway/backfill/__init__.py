"""What a PACS has and this gateway has not: asked for, fetched, handed to the running gateway."""
