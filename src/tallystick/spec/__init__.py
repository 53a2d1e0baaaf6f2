"""The definition of Tallystick in plain Python: standard library only, slow, readable, never optimised.

Engines and contracts are implementations of this package and are tested against it bit for bit.
"""
