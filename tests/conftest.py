"""What holds for all tests."""

from hypothesis import settings

# A machine that is busy with something else makes no test wrong.
settings.register_profile("regard", deadline=None)
settings.load_profile("regard")
