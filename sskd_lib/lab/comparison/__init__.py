"""Comparison of many methods: recorded runs, their statistics, cards of the methods, and figures."""
