"""Downloads against real local servers that refuse, break off, stall, lie and resume."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sskd_lib.data import download as downloads
from sskd_lib.data.archives import CIFAR
from sskd_lib.data.download import FILES, DownloadError, RemoteFile, data_folders, fetch, find
from sskd_lib.files import cache_folder

CONTENT = bytes(range(256)) * 2000 + b"the end"
HALF = len(CONTENT) // 2
NO_SERVER = "http://127.0.0.1:9/file.bin"


class Server(ThreadingHTTPServer):
    """Serves CONTENT; the first part of the address says how. `requests` keeps (how, Range header)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.closing = threading.Event()

    def url(self, how: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{how}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def head(self, status: int, length: int | None, **more: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self) -> None:
        how = self.path.split("/")[1]
        asked = self.headers["Range"]
        self.server.requests.append((how, asked))
        try:
            getattr(self, how)(int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def good(self, start: int) -> None:
        if start:
            size = len(CONTENT)
            self.head(206, size - start, Content_Range=f"bytes {start}-{size - 1}/{size}")
        else:
            self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[start:])

    def unresumable(self, _: int) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT)

    def forbidden(self, _: int) -> None:
        self.send_error(403)

    def moved(self, _: int) -> None:
        self.head(302, 0, Location=self.server.url("good"))

    def truncated(self, _: int) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:HALF])

    def unannounced(self, _: int) -> None:
        self.head(200, None)
        self.wfile.write(CONTENT[:HALF])

    def corrupt(self, start: int) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:HALF] + b"X" + CONTENT[HALF + 1 :])

    def page(self, _: int) -> None:
        self.head(200, 17)
        self.wfile.write(b"<html>Sorry</html"[:17])

    def endless(self, _: int) -> None:
        self.head(200, None)
        self.wfile.write(CONTENT * 3)

    def stalled(self, _: int) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:HALF])
        self.wfile.flush()
        self.server.closing.wait(20)

    def trickle(self, start: int) -> None:
        """Slow, but it can be resumed; on a second visit it is as quick as any."""
        if self.server.requests.count(("trickle", None)) + start > 1:
            return self.good(start)
        self.head(200, len(CONTENT))
        for place in range(0, len(CONTENT), 1000):
            self.wfile.write(CONTENT[place : place + 1000])
            self.wfile.flush()
            if self.server.closing.wait(0.02):
                return

    drip = trickle


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


pytestmark = pytest.mark.usefixtures("own_home")


def remote(*urls: str) -> RemoteFile:
    return RemoteFile(
        name="file.bin", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), urls=urls
    )


def quick(file: RemoteFile, folder: Path, **options) -> Path:
    return fetch(file, folder, **{"stall": 0.3, "slow": 0.0, "progress": False} | options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_good_server_gives_the_file_and_nothing_else_stays(server, tmp_path):
    folder = tmp_path / "made" / "on the way"
    path = quick(remote(server.url("good")), folder)
    assert path == folder / "file.bin" and path.read_bytes() == CONTENT
    assert names(folder) == ["file.bin"]
    quick(remote(server.url("good")), folder)
    assert server.requests == [("good", None)]  # the second call found the copy


def test_redirects_are_followed(server, tmp_path):
    assert quick(remote(server.url("moved")), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("forbidden", "HTTP 403 Forbidden"),
        ("truncated", f"broke off after {HALF} of {len(CONTENT)} bytes"),
        ("unannounced", f"broke off after {HALF} of {len(CONTENT)} bytes"),
        ("corrupt", "gave the wrong bytes (its sha256 is "),
        ("page", f"offers 17 bytes instead of {len(CONTENT)}"),
        ("endless", f"sent more than {len(CONTENT)} bytes"),
        ("stalled", "sent nothing for 0.3 s"),
    ],
)
def test_a_bad_mirror_is_named_and_the_next_one_is_used(server, tmp_path, how, reason):
    with pytest.raises(DownloadError) as caught:
        quick(remote(server.url(how)), tmp_path / "alone")
    assert f"{server.url(how)}: {reason}" in str(caught.value)
    assert "file.bin" not in names(tmp_path / "alone")
    path = quick(remote(server.url(how), server.url("good")), tmp_path / "two")
    assert path.read_bytes() == CONTENT and names(tmp_path / "two") == ["file.bin"]


def test_the_last_error_lists_every_reason_and_says_what_to_do(server, tmp_path):
    file = remote(NO_SERVER, server.url("forbidden"), server.url("page"))
    with pytest.raises(DownloadError) as caught:
        quick(file, tmp_path)
    text = str(caught.value)
    assert isinstance(caught.value, OSError)
    assert all(url in text for url in file.urls) and "refused" in text and "HTTP 403" in text
    assert str(tmp_path / "file.bin") in text and file.sha256 in text
    assert "SSKD_DATA" in text and '"fashion-mnist-lab" needs no network' in text
    assert names(tmp_path) == []


def test_a_broken_download_goes_on_with_the_next_mirror(server, tmp_path):
    path = quick(remote(server.url("truncated"), server.url("good")), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("truncated", None), ("good", f"bytes={HALF}-")]


def test_a_server_without_range_starts_anew(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    assert quick(remote(server.url("unresumable")), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("unresumable", "bytes=1000-")]


@pytest.mark.parametrize("part", [b"wrong" * 99, b"wrong" * len(CONTENT), CONTENT[:-1] + b"!"])
def test_a_wrong_part_from_earlier_is_thrown_away(server, tmp_path, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    assert quick(remote(server.url("good")), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("good", None)


def test_a_complete_part_needs_no_server(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert quick(remote(NO_SERVER), tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_a_slow_mirror_is_left_and_gets_a_second_chance(server, tmp_path):
    path = quick(remote(server.url("trickle"), server.url("good")), tmp_path / "a", slow=200e3)
    assert path.read_bytes() == CONTENT
    (how, start), (next_how, next_start) = server.requests
    assert (how, start, next_how) == ("trickle", None, "good") and next_start.startswith("bytes=")
    server.requests.clear()
    path = quick(remote(server.url("trickle"), server.url("forbidden")), tmp_path / "b", slow=200e3)
    assert path.read_bytes() == CONTENT
    assert [how for how, _ in server.requests] == ["trickle", "forbidden", "trickle"]


def test_a_killed_process_leaves_no_file_and_the_next_call_resumes(server, tmp_path):
    file = remote(server.url("drip"))
    code = (
        f"import sys; sys.path.append({str(Path(downloads.__file__).parent)!r})\n"
        "from pathlib import Path; from downloads import RemoteFile, fetch\n"
        f"fetch(RemoteFile(name='file.bin', size={file.size}, sha256={file.sha256!r}, urls={file.urls!r}), "
        f"Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    part, deadline = tmp_path / "file.bin.part", time.monotonic() + 15
    while not (part.exists() and part.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.wait()
    assert names(tmp_path) == ["file.bin.part"]
    got = part.stat().st_size
    assert 20_000 < got < len(CONTENT) and CONTENT.startswith(part.read_bytes())
    assert quick(remote(server.url("good")), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("good", f"bytes={got}-")
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.skipif(os.name != "posix", reason="file locks of this kind are POSIX")
def test_two_at_once_download_once(server, tmp_path):
    file, paths = remote(server.url("good")), []
    threads = [threading.Thread(target=lambda: paths.append(quick(file, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / "file.bin"] * 4 and paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1 and names(tmp_path) == ["file.bin"]


def test_a_damaged_copy_is_refused_not_replaced(server, tmp_path):
    file = remote(server.url("good"))
    for damaged in (CONTENT[:-1], CONTENT[:-1] + b"!"):
        (tmp_path / "file.bin").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"file\.bin is damaged .* Delete it"):
            quick(file, tmp_path)
        with pytest.raises(ValueError, match="is damaged"):
            find(file, [tmp_path])
        assert (tmp_path / "file.bin").read_bytes() == damaged
    assert find(file, [tmp_path / "nowhere"]) is None


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match=r"cannot write file\.bin .* SSKD_DATA"):
        quick(remote(server.url("good")), tmp_path / "file" / "below")


def test_a_full_disk_stops_at_once(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads, "_copy", full)
    with pytest.raises(DownloadError, match=r"cannot write file\.bin .* No space left .* Free some space"):
        quick(remote(server.url("good"), server.url("good")), tmp_path)
    assert len(server.requests) == 1


def test_progress_is_one_line_on_stderr(server, tmp_path, capsys):
    quick(remote(server.url("good")), tmp_path, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.rstrip().endswith("100 %")
    assert "downloading file.bin (0.5 MB) from 127.0.0.1" in err


def test_where_data_are_looked_for(tmp_path, monkeypatch):
    assert data_folders() == [cache_folder()] and cache_folder().is_relative_to(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "env").mkdir()
    monkeypatch.setenv("SSKD_DATA", str(tmp_path / "env"))
    assert data_folders(tmp_path / "root") == [tmp_path / "root", tmp_path / "env", cache_folder()]
    with pytest.raises(FileNotFoundError, match=r"root names .*missing, which is no folder"):
        data_folders(tmp_path / "missing")
    monkeypatch.setenv("SSKD_DATA", str(tmp_path / "typo"))
    with pytest.raises(FileNotFoundError, match=r"SSKD_DATA names .*typo, which is no folder"):
        data_folders()


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_cache_folder_of_each_platform_is_below_the_home(platform, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name)
    folder = cache_folder()
    assert folder.name == "sskd" and folder.is_relative_to(tmp_path / "home")


def test_the_table_agrees_with_torchvision():
    from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

    for name, theirs in {"cifar10": CIFAR10, "cifar100": CIFAR100}.items():
        ours = CIFAR[name]
        assert (ours.file.name, ours.file.urls[0], ours.folder) == (
            theirs.filename,
            theirs.url,
            theirs.base_folder,
        )
        assert ours.batches == {"train": dict(theirs.train_list), "test": dict(theirs.test_list)}
        assert ours.meta == {theirs.meta["filename"]: theirs.meta["md5"]}
        assert ours.class_key == theirs.meta["key"]
    for name, _ in FashionMNIST.resources:
        ours = FILES[f"fashion-mnist/{name.removesuffix('.gz')}"]
        assert ours.name == name and ours.urls[0] == FashionMNIST.mirrors[0] + name
    for file in FILES.values():
        assert len(file.urls) >= 2 and re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert all(url.endswith(f"/{file.name}") for url in file.urls)
