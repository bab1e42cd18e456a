"""Trained students: exported, loaded and used for predictions."""
