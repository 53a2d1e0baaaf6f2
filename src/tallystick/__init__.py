"""Machine learning on computers you do not trust, with every float accountable."""
