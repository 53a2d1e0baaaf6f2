"""Random small training jobs, each run by eager PyTorch and by ours, and compared loss by loss and state by state.

    PYTHONPATH=tests python -m differential --jobs 2000 --seed 0

A job is a tree of named choices (``nodes``), written out as a plain Python file (``program``) by the productions of
the grammar (``layers``, ``norms``, ``attention``, ...). ``trial`` runs one and says how it ended; ``shrinking`` makes
one that went wrong as small as it gets.
"""
