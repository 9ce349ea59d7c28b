"""Downloads from real local servers: good, slow to answer, lying, broken and absent."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sskd_lib.data.download import DownloadError, RemoteFile, data_folders, fetch, find
from sskd_lib.files import cache_folder

CONTENT = gzip.compress(bytes(range(256)) * 2000, mtime=0) + bytes(range(256)) * 1000
HALF = len(CONTENT) // 2
NO_SERVER = "http://127.0.0.1:9/file.bin"

pytestmark = pytest.mark.usefixtures("own_home")


class Server(ThreadingHTTPServer):
    """Serves CONTENT; the first part of the address says how. `requests` keeps those parts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
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
        self.server.requests.append(how)
        with suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, how)()

    def good(self) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT)

    def forbidden(self) -> None:
        self.send_error(403)

    def moved(self) -> None:
        self.head(302, 0, Location=self.server.url("good"))

    def packs_unless_told(self) -> None:
        """A server that packs what it sends, unless the client wants it as it is."""
        if self.headers["Accept-Encoding"] == "identity":
            return self.good()
        packed = gzip.compress(CONTENT)
        self.head(200, len(packed), Content_Encoding="gzip")
        self.wfile.write(packed[:HALF])

    def truncated(self) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:HALF])

    def unannounced(self) -> None:
        self.head(200, None)
        self.wfile.write(CONTENT[:HALF])

    def corrupt(self) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:HALF] + b"X" + CONTENT[HALF + 1 :])

    def page(self) -> None:
        self.head(200, 17)
        self.wfile.write(b"<html>Sorry</html"[:17])

    def silent(self) -> None:
        self.head(200, len(CONTENT))
        self.wfile.write(CONTENT[:HALF])
        self.wfile.flush()
        self.server.closing.wait(20)


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


def remote(*urls: str) -> RemoteFile:
    return RemoteFile(
        name="file.bin", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), urls=urls
    )


def download(file: RemoteFile, folder: Path) -> Path:
    return fetch(file, folder, timeout=0.5, progress=False)


def names(folder: Path) -> list[str]:
    """The folder's files, without the one of the lock."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".file.bin.lock"))


def test_a_good_server_gives_the_file_and_nothing_else_stays(server, tmp_path):
    folder = tmp_path / "made" / "on the way"
    path = download(remote(server.url("good")), folder)
    assert path == folder / "file.bin" and path.read_bytes() == CONTENT
    assert names(folder) == ["file.bin"] and path.stat().st_mode & 0o044 == 0o044  # others may read it
    assert download(remote(server.url("good")), folder) == path
    assert server.requests == ["good"]  # the second call used the copy


@pytest.mark.parametrize("how", ["moved", "packs_unless_told"])
def test_redirects_are_followed_and_nothing_is_packed_on_the_way(server, tmp_path, how):
    assert download(remote(server.url(how)), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("forbidden", "403"),
        ("truncated", "IncompleteRead|Connection broken"),
        ("unannounced", "hash"),
        ("corrupt", "hash"),
        ("page", "hash"),
        ("silent", "timed out"),
    ],
)
def test_a_bad_mirror_is_named_and_the_next_one_is_used(server, tmp_path, how, reason):
    with pytest.raises(DownloadError, match=f"{server.url(how)}: .*({reason})"):
        download(remote(server.url(how)), tmp_path / "alone")
    assert names(tmp_path / "alone") == []
    path = download(remote(server.url(how), server.url("good")), tmp_path / "two")
    assert path.read_bytes() == CONTENT and names(tmp_path / "two") == ["file.bin"]
    assert server.requests == [how, how, "good"]


def test_mirrors_are_tried_in_their_order(server, tmp_path):
    download(remote(server.url("good"), server.url("moved")), tmp_path)
    assert server.requests == ["good"]


def test_the_last_error_lists_every_reason_and_says_what_to_do(server, tmp_path):
    file = remote(NO_SERVER, server.url("forbidden"), server.url("page"))
    with pytest.raises(DownloadError) as caught:
        download(file, tmp_path)
    text = str(caught.value)
    assert isinstance(caught.value, OSError)
    assert all(f"  {url}: " in text for url in file.urls) and "refused" in text and "403" in text
    assert str(tmp_path / "file.bin") in text and file.sha256 in text
    assert "SSKD_DATA" in text and '"fashion-mnist-lab" needs no network' in text
    assert names(tmp_path) == []


def test_two_at_once_download_once(server, tmp_path):
    file, paths = remote(server.url("good")), []
    threads = [threading.Thread(target=lambda: paths.append(download(file, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / "file.bin"] * 4 and paths[0].read_bytes() == CONTENT
    assert server.requests == ["good"] and names(tmp_path) == ["file.bin"]


def test_a_damaged_copy_is_refused_not_replaced(server, tmp_path):
    file = remote(server.url("good"))
    for damaged in (CONTENT[:-1], CONTENT[:-1] + b"!"):
        (tmp_path / "file.bin").write_bytes(damaged)
        for ask in (lambda: download(file, tmp_path), lambda: find(file, [tmp_path])):
            with pytest.raises(ValueError, match=r"file\.bin is damaged: its sha256 is .* Delete it"):
                ask()
        assert (tmp_path / "file.bin").read_bytes() == damaged
    assert find(file, [tmp_path / "nowhere"]) is None and server.requests == []


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match=r"could not download file\.bin [^$]*cannot write[^$]* SSKD_DATA"):
        download(remote(server.url("good")), tmp_path / "file" / "below")


def test_progress_is_shown_on_stderr(server, tmp_path, capsys):
    fetch(remote(server.url("good")), tmp_path)
    out, err = capsys.readouterr()
    assert out == "" and "100%" in err


def test_pooch_is_imported_by_a_download_alone(tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    code = (
        "import sys; from pathlib import Path; from sskd_lib.data.download import RemoteFile, fetch\n"
        f"fetch(RemoteFile(name='file.bin', size=1, sha256={remote().sha256!r}, urls=()), "
        f"Path({str(tmp_path)!r}))\nprint({{'pooch', 'requests'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_where_data_are_looked_for(tmp_path, monkeypatch):
    assert data_folders() == [cache_folder()] and cache_folder().is_relative_to(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "env").mkdir()
    monkeypatch.setenv("SSKD_DATA", str(tmp_path / "env"))
    assert data_folders(tmp_path / "root") == [tmp_path / "root", tmp_path / "env", cache_folder()]
    with pytest.raises(FileNotFoundError, match=r"root .* names .*missing, which does not exist"):
        data_folders(tmp_path / "missing")
    monkeypatch.setenv("SSKD_DATA", str(tmp_path / "typo"))
    with pytest.raises(FileNotFoundError, match=r"SSKD_DATA names .*typo, which does not exist"):
        data_folders()
