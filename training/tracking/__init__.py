"""Where the figures of a run are told besides its own folder: TensorBoard, MLflow, Weights & Biases.

Read `trackers.py` first: it tells them all, and keeps the run safe from them. `tracker.py` is the seam.
"""
