import dataclasses
import functools
import hashlib
import http.server
import importlib.util
import os
import pickle
import struct
import threading
import urllib.error
from pathlib import Path

import jax
import numpy as np
import pytest

from jgr.cli import main as command_line
from jgr.errors import ConfigError, DataError
from jgr.metrics import pretrained
from jgr.metrics.perceptual import from_torch


def _torch_file(tensors):
    """The bytes that `torch.save` of before 1.6 writes for float32 arrays, made by hand."""
    content = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    content += b"\x80\x02}("
    for key, (name, array) in enumerate(tensors.items()):
        strides = np.cumprod((1, *array.shape[:0:-1]))[::-1]
        shape, strides = ("(" + "".join(f"I{int(size)}\n" for size in sizes) + "t" for sizes in (array.shape, strides))
        storage = f"(S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'cpu'\nI{array.size}\ntQ"
        content += f"S'{name}'\nctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n{shape}{strides}I00\nNtR".encode()
    content += b"u." + pickle.dumps([str(key) for key in range(len(tensors))], 2)
    return content + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in tensors.values())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("JGR_CACHE", str(folder))
    return folder


@pytest.fixture
def site(tmp_path):
    """A folder that a web server on this machine shows, and its address."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if not self.path.startswith("/short"):
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            return self.wfile.write(b"x" * 10)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def squeezenet():
    """A state dict of random numbers as torchvision's squeezenet1_1 has it, and its file, named by its hash."""
    path = Path(__file__).with_name("test_perceptual.py")
    spec = importlib.util.spec_from_file_location("perceptual", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = module._weights("squeeze") | {"classifier.1.bias": np.zeros(1000, np.float32)}
    content = _torch_file(weights)
    return weights, content, f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def _publish(monkeypatch, url):
    published = dataclasses.replace(pretrained.PUBLISHED["lpips_squeeze"], url=url)
    monkeypatch.setitem(pretrained.PUBLISHED, "lpips_squeeze", published)


def test_the_table_names_files_by_the_start_of_their_hash():
    starts = {name: published.sha256 for name, published in pretrained.PUBLISHED.items()}
    assert starts == {
        "inception": "6726825d",
        "lpips_alex": "7be5be79",
        "lpips_vgg": "397923af",
        "lpips_squeeze": "b8a52dc0",
    }
    assert all(published.url.startswith("https://") for published in pretrained.PUBLISHED.values())


def test_weights_are_downloaded_checked_and_converted(monkeypatch, site, squeezenet, cache, capsys):
    folder, address = site
    weights, content, file = squeezenet
    (folder / file).write_bytes(content)
    _publish(monkeypatch, f"{address}/{file}")
    assert command_line.main(["weights"]) == 0
    assert "missing: jgr weights lpips_squeeze" in capsys.readouterr().out
    assert command_line.main(["weights", "lpips_squeeze"]) == 0
    assert capsys.readouterr().out.strip() == str(cache / "weights" / "lpips_squeeze.npz")
    assert os.listdir(cache / "weights") == ["lpips_squeeze.npz"]  # nothing temporary is left

    loaded = pretrained.load("lpips_squeeze")
    np.testing.assert_array_equal(
        loaded["3.squeeze"]["kernel"], weights["features.3.squeeze.weight"].transpose(2, 3, 1, 0)
    )
    jax.tree.map(np.testing.assert_array_equal, loaded, from_torch("squeeze", weights))
    digest = hashlib.sha256(content).hexdigest()
    assert pretrained.digest("lpips_squeeze") == digest
    assert command_line.main(["weights"]) == 0
    assert f"there, from {digest[:8]}" in capsys.readouterr().out


def test_a_local_file_is_converted_and_left_alone(monkeypatch, tmp_path, squeezenet):
    weights, content, file = squeezenet
    _publish(monkeypatch, f"http://127.0.0.1:9/{file}")
    (tmp_path / "renamed.pth").write_bytes(content)
    assert command_line.main(["weights", "lpips_squeeze", f"--from={tmp_path / 'renamed.pth'}"]) == 0
    np.testing.assert_array_equal(pretrained.load("lpips_squeeze")["0"]["bias"], weights["features.0.bias"])
    assert (tmp_path / "renamed.pth").read_bytes() == content


@pytest.mark.parametrize("local", [True, False])
def test_a_wrong_hash_is_an_error_that_keeps_nothing(monkeypatch, site, squeezenet, cache, local):
    folder, address = site
    _, content, file = squeezenet
    changed = content[:-1] + b"\1"
    (folder / file).write_bytes(changed)
    _publish(monkeypatch, f"{address}/{file}")
    found = hashlib.sha256(changed).hexdigest()
    message = f"{file} is not the published {file}: its SHA-256 should begin with {file[-12:-4]}, but is {found}"
    with pytest.raises(DataError, match=message):
        pretrained.install("lpips_squeeze", folder / file if local else None, quiet=True)
    assert os.listdir(cache / "weights") == []


def test_code_in_a_file_of_the_right_hash_is_not_run(monkeypatch, tmp_path, cache):
    monkeypatch.chdir(tmp_path)
    content = b"cos\nsystem\n(S'touch ran'\ntR."
    file = tmp_path / f"evil-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.write_bytes(content)
    _publish(monkeypatch, file.as_uri())
    for source in (file, None):
        with pytest.raises(DataError, match=r"wants to import os\.system"):
            pretrained.install("lpips_squeeze", source, quiet=True)
    assert not (tmp_path / "ran").exists()
    assert os.listdir(cache / "weights") == []


def test_without_a_network_one_line_says_what_to_fetch_and_what_to_run(monkeypatch, capsys):
    def refuse(url, timeout):
        raise urllib.error.URLError(OSError(101, "Network is unreachable"))

    monkeypatch.setattr(pretrained.urllib.request, "urlopen", refuse)
    assert command_line.main(["weights", "inception"]) == 1
    file = "pt_inception-2015-12-05-6726825d.pth"
    assert capsys.readouterr().err == (
        f"jgr weights: error: https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{file} cannot be "
        f"fetched (Network is unreachable); download it where there is a network, then run "
        f"`jgr weights inception --from={file}`\n"
    )


@pytest.mark.parametrize(
    ("path", "reason"), [("absent-00.pth", "File not found"), ("short-00.pth", "after 10 of 1000")]
)
def test_a_download_that_fails_says_why(monkeypatch, site, cache, path, reason):
    _publish(monkeypatch, f"{site[1]}/{path}")
    with pytest.raises(DataError, match=rf"{path} cannot be fetched \(.*{reason}.*--from={path}"):
        pretrained.install("lpips_squeeze", quiet=True)
    assert os.listdir(cache / "weights") == []


def test_weights_that_are_not_there_are_asked_for_by_command():
    for function in (pretrained.load, pretrained.digest):
        with pytest.raises(ConfigError, match=r"inception\.npz is missing: fid.*get them with `jgr weights inception`"):
            function("inception")
        with pytest.raises(ConfigError, match="'resnet' are unknown; there are inception, lpips_alex"):
            function("resnet")


def test_a_damaged_copy_is_named(cache, capsys):
    path = cache / "weights" / "lpips_alex.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, source_sha256=np.array("00"), **{"0/kernel": np.arange(1000.0)})
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:-100], whole[:2000] + b"\xff" + whole[2001:]):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"lpips_alex\.npz is damaged .*make it again with `jgr weights lpips_alex`"
        ):
            pretrained.load("lpips_alex")
    path.write_bytes(whole[:-100])
    assert command_line.main(["weights"]) == 0
    assert "damaged: jgr weights lpips_alex" in capsys.readouterr().out
    np.savez(path, source_sha256=np.array("00"), kernel=np.array([{}], dtype=object))  # would be unpickled
    with pytest.raises(DataError, match="is damaged"):
        pretrained.load("lpips_alex")


def test_a_failed_conversion_keeps_the_weights_that_were_there(monkeypatch, tmp_path, squeezenet):
    _, content, file = squeezenet
    (tmp_path / file).write_bytes(content)
    _publish(monkeypatch, f"http://127.0.0.1:9/{file}")
    pretrained.install("lpips_squeeze", tmp_path / file)
    before = pretrained.weights_file("lpips_squeeze").read_bytes()
    wrong = _torch_file({"features.0.weight": np.zeros((1, 3, 3, 3), np.float32)})
    name = f"wrong-{hashlib.sha256(wrong).hexdigest()[:8]}.pth"
    (tmp_path / name).write_bytes(wrong)
    _publish(monkeypatch, f"http://127.0.0.1:9/{name}")
    with pytest.raises(DataError, match=r"features\.0\.weight has shape"):
        pretrained.install("lpips_squeeze", tmp_path / name)
    assert pretrained.weights_file("lpips_squeeze").read_bytes() == before
