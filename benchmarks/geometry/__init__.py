"""Where labels land: odd series through the converter and through the usual ways, beside each other.

`python -m benchmarks.geometry` writes the outcomes into docs/converter.md.
"""
