"""How long the properties look: ``HYPOTHESIS_PROFILE`` is quick, noshrink (fails fast) or deep (long and random)."""

import os

from hypothesis import HealthCheck, Phase, settings

slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
settings.register_profile(
    "quick", max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=slow_is_fine
)
settings.register_profile("deep", max_examples=2000, deadline=None, suppress_health_check=slow_is_fine)
settings.register_profile("noshrink", settings.get_profile("quick"), phases=[Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
