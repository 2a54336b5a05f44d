"""Traces: the way of each study that is over, as spans, put where OpenTelemetry takes them."""
