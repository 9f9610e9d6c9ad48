"""Pagoda and other programs in turn, on the same model, threads and shapes. Standard library only."""
