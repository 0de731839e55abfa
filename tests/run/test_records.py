import pytest

from jgr.run.records import short_names


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["/data/set5/baby.png", "/data/set5/bird.png"], ["baby.png", "bird.png"]),
        (["/data/a/1.png", "/data/b/1.png"], ["a/1.png", "b/1.png"]),
        (["record 8 of mnist-test", "record 10 of mnist-test"], ["8", "10"]),
        (["1.png", "2.png"], ["1.png", "2.png"]),
        (["/data/alone.png"], ["alone.png"]),
    ],
)
def test_names_lose_what_they_share(names, short):
    assert short_names(names) == short
