"""The tokens that a run knows: in its folder, and in its networks."""

from ml_collections import ConfigDict

from jgr.config import flatten
from jgr.data.vocabulary import Vocabulary
from jgr.errors import ConfigError, DataError, RunError
from jgr.files import disk_errors
from jgr.run.folder import RunFolder


def read_vocabulary(folder: RunFolder) -> Vocabulary | None:
    """The vocabulary that a run was made with; None where its captions are not read, or there is no run yet.

    Raises:
        RunError: The file cannot be read, or is none.
    """
    path = folder.vocabulary_path
    if not path.is_file():
        return None
    with disk_errors(path, "read"):
        text = path.read_text(encoding="utf-8")
    try:
        return Vocabulary.from_json(text)
    except DataError as error:
        raise RunError(f"{path}: {error}") from error


def require_room(config: ConfigDict, vocabulary: Vocabulary | None) -> None:
    """For the networks of a config: a token beyond an encoder's table would be no number.

    Raises:
        ConfigError: An encoder has fewer tokens than there are.
    """
    if vocabulary is None:
        return
    for key, value in flatten(config.task).items():
        if key.endswith("vocabulary_size") and isinstance(value, int) and value < len(vocabulary):
            raise ConfigError(
                f"config.task.{key} = {value} must be at least {len(vocabulary)}, the tokens of the captions of "
                "config.data; fewer are read with config.data.captions.size"
            )
