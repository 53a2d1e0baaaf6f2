"""Operators written out in terms of others, before lowering."""
