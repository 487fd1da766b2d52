"""Serve Optuna Dashboard for a store and keep what it shows up to date."""

import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import torch
from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi
from sqlalchemy.exc import OperationalError

from dashboard.sync import Sync, sync
from nas.handle import StudyHandle, open_storage
from nas.store import Store
from primitives.core.errors import InvalidInput

__all__ = ["serve", "sync"]

HOST = "127.0.0.1"
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def serve(
    store_folder: Path | str, *, port: int = 8080, open: bool = False, refresh_s: float = 15
) -> None:
    """Serve a store on this machine until Ctrl-C; a search may run beside it.

    Args:
        store_folder: folder of the store.
        port: on 127.0.0.1; 0 takes any free one.
        open: show it in the browser.
        refresh_s: seconds between two looks for new results.

    Raises:
        InvalidInput: there is no such store, or the port is taken or out of range.
    """
    store = Store(Path(store_folder))
    storage = open_storage(store)
    torch.set_num_threads(1)  # a search beside us needs the others
    writing = threading.Lock()
    artifacts = FileSystemArtifactStore(str(store.folder / "artifacts"))
    app = _guarded(wsgi(storage, artifact_store=artifacts), writing)
    with _listen(port) as server:
        server.set_app(app)
        url = f"http://{HOST}:{server.server_port}/dashboard/"
        print(url, flush=True)
        refresher = Refresher(store, storage, writing)
        threading.Thread(target=refresher.run, args=(refresh_s,), daemon=True).start()
        if open:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


class Refresher:
    """Sync the studies of a store that changed since the last look.

    Args:
        store: the store.
        storage: Optuna's side of it, which the server uses too.
        lock: held while a figure or a note is written.
    """

    def __init__(self, store: Store, storage: RDBStorage, lock: threading.Lock) -> None:
        self.store, self.storage, self.lock = store, storage, lock
        self._syncs: dict[int, Sync] = {}
        self._seen: dict[int, object] = {}
        self._said: set[str] = set()

    def run(self, refresh_s: float) -> None:
        """Look again and again, forever."""
        while True:
            try:
                self.run_once()
            except (OperationalError, StorageInternalError) as error:
                self._say(f"the store could not be written, trying again: {error}")
            time.sleep(refresh_s)

    def run_once(self) -> int:
        """Sync what changed; return how many trials got their note."""
        studies = {study._study_id: study.study_name for study in self.storage.get_all_studies()}
        return sum(self._sync(study_id, name) for study_id, name in studies.items())

    def _sync(self, study_id: int, name: str) -> int:
        try:
            if study_id not in self._syncs:
                self._syncs[study_id] = Sync(StudyHandle(self.store, name), self.lock)
            progress = self._syncs[study_id].progress()
            if self._seen.get(study_id) == progress:
                return 0
            new = self._syncs[study_id].run()
            self._seen[study_id] = progress
            return new
        except InvalidInput as error:
            self._say(f"study {name!r} is shown without our plots: {error}")
        except KeyError:
            # The page has a button that deletes studies; anything else is an error.
            if study_id in {study._study_id for study in self.storage.get_all_studies()}:
                raise
        return 0

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            print(message, file=sys.stderr, flush=True)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread: browsers keep idle ones open."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing about single requests."""


def _listen(port: int) -> _Server:
    if not 0 <= port <= 65535:
        raise InvalidInput(f"port must be from 0 to 65535, got {port}")
    try:
        return _Server((HOST, port), _QuietHandler)
    except OSError as error:
        raise InvalidInput(
            f"port must be free, {port} is not ({error.strerror}); name another --port"
        ) from None


def _guarded(app: App, lock: threading.Lock) -> App:
    """Let no page read a study while one of its figures is half written."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        parent, _, name = environ["PATH_INFO"].rstrip("/").rpartition("/")
        if parent == "/api/studies" and name.isdigit():
            with lock:
                return app(environ, start_response)
        return app(environ, start_response)

    return answer
