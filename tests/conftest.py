"""Settings that all tests share: hypothesis finds new examples at a desk and repeats the same ones in CI."""

import os

from hypothesis import HealthCheck, settings

# A shared core may stall for seconds, so no example has a deadline; pytest-timeout ends what hangs.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("desk"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
