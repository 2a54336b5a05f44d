"""Series made of a given one, each still true to it: what the phantom, the tests and the benchmarks send."""
