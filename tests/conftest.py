"""What holds for every test."""

from hypothesis import settings

# How long an example takes is the machine's business; a hang is pytest-timeout's.
settings.register_profile("igw", deadline=None)
settings.load_profile("igw")
