"""What every test shares."""

from hypothesis import HealthCheck, settings

# A loaded machine is slow, and slow is no bug: no test here depends on wall time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")
