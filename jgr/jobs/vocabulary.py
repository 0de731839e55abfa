"""The tokens that a run knows, in its folder."""

from jgr.data.vocabulary import Vocabulary
from jgr.errors import DataError, RunError
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
