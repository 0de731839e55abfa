"""Progress beside other messages."""

import io
import sys

from jgr.jobs.progress import images_bar


def test_in_a_log_every_state_of_a_bar_is_a_line(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with images_bar("restore", 4, "image", quiet=False) as bar:
        bar.update(2)
        bar.refresh()
        print("b.png cannot be read", file=sys.stderr)
        bar.update(1)
        bar.refresh()
    print("done", file=sys.stderr)
    lines = log.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["restore", "b.png cannot be read", "restore", "done"]
    assert "2/4" in lines[0]
    assert "3/4" in lines[2]
    assert "\r" not in log.getvalue()
