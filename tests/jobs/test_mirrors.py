"""What a training writes for other tools."""

import gzip
import json
import struct

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

import jgr
from jgr.errors import ConfigError


@pytest.mark.slow
def test_a_profile_holds_the_steps_of_its_window(digits_config, tmp_path, capsys):
    jgr.train(digits_config({"train.num_steps": 6}), tmp_path / "run", profile="3:4")
    assert "ui.perfetto.dev" in capsys.readouterr().out
    folder = tmp_path / "run" / "profile"
    (xplane,) = folder.rglob("*.xplane.pb")
    assert xplane.stat().st_size > 1000
    (trace,) = folder.rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    steps = [event["args"]["step_num"] for event in events if event.get("name") == "train"]
    assert [int(step) for step in steps] == [3, 4]


@pytest.mark.parametrize("window", ["10", "5:4", "0:3", "a:b"])
def test_a_window_that_cannot_be_is_told_before_anything_is_written(digits_config, tmp_path, window):
    with pytest.raises(ConfigError, match=f"--profile={window} must be START:STOP"):
        jgr.train(digits_config(), tmp_path / "run", profile=window)
    assert not (tmp_path / "run").exists()


def events(folder):
    """The events of all files: a length, a checksum, the message, a checksum."""
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_tensorboard_shows_what_metrics_jsonl_says(digits_config, tmp_path):
    config = {"train.sample_every": 3}
    for steps in (3, 6):
        jgr.train(digits_config(config | {"train.num_steps": steps}), tmp_path / "run", quiet=True, tensorboard=True)
    written = events(tmp_path / "run" / "tensorboard")
    values = {(e.step, v.tag): v.simple_value for e in written for v in e.summary.value if not v.HasField("image")}
    for row in jgr.load(tmp_path / "run").metrics():
        for name in ("generator/loss", "discriminator/loss", "images_per_s"):
            if row[name] is not None:
                assert values[row["step"], name] == np.float32(row[name])
    pictures = [(e.step, v.tag) for e in written for v in e.summary.value if v.HasField("image")]
    assert pictures == [(3, "samples"), (6, "samples")]
    assert 4 in [e.step for e in written if e.session_log.status == event_pb2.SessionLog.START]  # voids later ones
