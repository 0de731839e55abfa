"""Errors a user can act on: the command line prints them as one line, without a traceback."""


class JgrError(Exception):
    """Something the user can mend. The message names the key or file, the value, and what to do."""


class ConfigError(JgrError):
    """A config key is unknown, of the wrong type, or has an impossible value."""


class DataError(JgrError):
    """A data set is missing, unreadable or not what the config says."""


class RunError(JgrError):
    """A run's folder cannot be used as asked."""


class CheckpointError(RunError):
    """A checkpoint cannot be written or does not fit."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that does not read back as it was written."""


class MetricError(JgrError):
    """A metric has no value for what it was given."""


class NonFiniteError(JgrError):
    """A loss, a gradient or a parameter stopped being a finite number."""
