"""What becomes of workers when the process that began them is killed."""

import subprocess
import sys
from pathlib import Path

import psutil

SCRIPT = """
import os, sys, time
from nas.processes import process_pool

if __name__ == "__main__":
    with process_pool(2, sys.setrecursionlimit, 2000) as pool:
        job = pool.submit(time.sleep, 600)
        print(pool.submit(sys.getrecursionlimit).result(), flush=True)
        job.result()
"""


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "2000\n"  # `begin` ran, with its argument
        workers = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    assert len(workers) >= 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
