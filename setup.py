"""What pyproject.toml cannot say: HOLTER_PURE_WHEEL=1 builds one wheel for all platforms, without the extension."""

from __future__ import annotations

import os

from setuptools import Distribution, setup


class PureDistribution(Distribution):
    """As pyproject.toml describes it, without extensions."""

    def parse_config_files(self, *args: object, **kwargs: object) -> None:
        """Read the configuration."""
        super().parse_config_files(*args, **kwargs)
        self.ext_modules = []


setup(distclass=PureDistribution if os.environ.get("HOLTER_PURE_WHEEL") == "1" else Distribution)
