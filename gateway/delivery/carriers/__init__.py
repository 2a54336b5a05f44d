"""The ways by which results leave: one carrier for each kind of destination, all in one catalogue."""
