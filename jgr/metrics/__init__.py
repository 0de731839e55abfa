"""Metrics: features on the device, statistics in float64 on the host, a protocol id with every number."""
