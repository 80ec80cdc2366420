"""Measuring what compression costs: benchmarks, sweeps over methods and ratios, metrics with intervals, tables."""
