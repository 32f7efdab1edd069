"""Doctor: problems that an operator should look at, as findings with stable ids.

Checks are pure (`setup`, `daily`): values in, findings out. Commands decide what a finding stops.
"""
