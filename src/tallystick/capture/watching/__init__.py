"""What a step does while it is traced: which values are the same, which are known, what asks for them."""
