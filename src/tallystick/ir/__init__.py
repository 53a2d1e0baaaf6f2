"""Building, checking, pricing and printing programs."""
