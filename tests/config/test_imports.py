import pytest

import jgr.losses.adversarial  # noqa: F401  as a GAN's task has loaded it
from jgr.config.imports import Context
from jgr.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "example"),
    [
        ("hinge", "jgr.losses.adversarial.hinge"),
        ("nobody", "my_package.my_module.MyClass"),
        ({"cls": 1}, "my_package.my_module.MyClass"),
    ],
)
def test_what_is_no_import_path_is_answered_by_one(path, example):
    with pytest.raises(ConfigError, match=rf'config\.task\.loss = .* is not an import path such as "{example}"'):
        Context().load(path, "config.task.loss")
