"""Metrics and the numbers behind them."""
