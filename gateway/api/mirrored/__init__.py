"""The mirror's table behind the API's protocols: the cloud's store."""
