"""The pages of the desk, one file for each entry of its menu."""
