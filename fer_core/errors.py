"""Every error that the project raises on purpose. Each message is shown to a person as it is: one sentence that names
the file, row or value at fault and the next step.

FerError
├── DataError         a data set, or a row of it, cannot be read
├── ConfigError       a recipe or a setting is unknown or out of range
└── RunError          a run directory is missing, busy or damaged
    └── CheckpointError   an epoch's weights cannot be loaded
"""


class FerError(Exception):
    """Base of all errors whose message is meant for the user."""


class DataError(FerError):
    """A data set, or a row of it, cannot be read."""


class ConfigError(FerError, ValueError):
    """A recipe or a setting is unknown or out of range."""


class RunError(FerError):
    """A run directory is missing, busy or damaged."""


class CheckpointError(RunError):
    """An epoch's weights cannot be loaded."""
