"""Synthetic request traces: lengths by quantiles, gamma arrivals, shared prefixes. Standard library only."""
