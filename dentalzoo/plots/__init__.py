"""Palettes, fonts, contact sheets and matplotlib figures, shared by all tasks."""
