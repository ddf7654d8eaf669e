"""What every test shares: hypothesis repeats the same examples in every run and knows no deadline."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
