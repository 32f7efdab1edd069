"""Doctor: what an operator should look at, as findings with stable ids.

Judgements are pure (`setup`): values in, findings out. The doors decide what a finding stops.
"""
