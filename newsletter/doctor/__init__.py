"""The doctor: checks for operators, with results as findings that have stable ids.

The judging functions are pure: they get values and return findings. Commands decide which findings
stop them.
"""
