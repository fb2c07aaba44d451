"""Whole networks over time: what a forward calls is recorded, and run layer by layer instead of step by step."""
