"""Builders and plain computations that several test files share."""
