"""Settings of every test."""

from hypothesis import settings

# The first example of a test compiles and warms up, and machines differ: no deadline. `derandomize` keeps runs alike.
settings.register_profile("snntorch", deadline=None, derandomize=True)
settings.load_profile("snntorch")
