"""Models as people train them: one file per family, small configurations, seeded random weights, seeded data.

``models.MODELS`` names them all. They come from ``transformers``, ``peft`` and ``torch.nn``, unchanged.
"""
