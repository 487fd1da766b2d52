import re
import sqlite3
from pathlib import Path

import pytest

from nas.bench.blocks import _blocks, _parts
from nas.handle import StudyHandle
from nas.store import Store
from tests.commands import QUICK, SEARCH, listing, run, write_images


@pytest.fixture(scope="module")
def mess(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that a user may get wrong."""
    folder = tmp_path_factory.mktemp("mess")
    write_images(folder / "few", 9)
    write_images(folder / "halves", 12, halved=2)
    (folder / "photos").mkdir()
    (folder / "photos" / "a.txt").touch()
    (folder / "file").touch()
    (folder / "other").mkdir()
    with sqlite3.connect(folder / "other" / "nas.db") as database:
        database.execute("CREATE TABLE patients (name)")
    database.close()
    Store(folder / "newer", create=True).engine.dispose()
    with sqlite3.connect(folder / "newer" / "nas.db") as database:
        database.execute("UPDATE nas_store SET version = 99")
    database.close()
    (folder / "broken.toml").write_text("space = = 1\n")
    (folder / "unknown.toml").write_text('space = "ultralight"\ntrails = 3\n')
    (folder / "types.toml").write_text('space = "ultralight"\nobjectives = "dice"\n')
    (folder / "text.toml").write_text('space = "ultralight"\ntrials = "3"\n')
    return folder


SPACES = (
    "lgms, lgms3d, mednext, medunext, mixed, mixed3d, timm, uconvnext, ultralight, ultralight3d, "
    "unet"
)
OBJECTIVES = "dice, iou, params, macs, flops, latency, memory"
NAME = "study must start with a letter or digit, have no '/' and at most 100 signs, got"
TIMED = ", ".join(case.name for case in (*_parts(), *_blocks()))
MISUSES = {
    "serch": "no such command 'serch'; did you mean 'search'?; see `nas --help`",
    "data chek few": "no such command 'chek'; did you mean 'check'?; see `nas data --help`",
    "--sped": "no such option '--sped'; see `nas --help`",
    "search --sapce x": "no such option '--sapce'; did you mean '--space'?; "
    "see `nas search --help`",
    "search": "a search needs --space; see `nas search --help`",
    "search --space ultralight": "a search needs --objective; see `nas search --help`",
    "search --space ultralite --objective dice": f"space must be one of {SPACES}, "
    "got 'ultralite'; did you mean 'ultralight'?",
    "search --space ultralight --objective dise --constraint none": "objective must be one of "
    f"{OBJECTIVES}, got 'dise'; did you mean 'dice'?",
    "search --space ultralight --objective dice, --constraint none": "objective must be one of "
    f"{OBJECTIVES}, got ''",
    "search --space ultralight --objective dice --inherit on --fidelity mo-asha": "inherit needs "
    "fidelity none, which leaves out no candidate, got 'mo-asha'",
    "search --space ultralight --objective dice --inherit yes": "invalid value for '--inherit': "
    "'yes' is not one of 'on', 'off'; see `nas search --help`",
    "search --space ultralight --objective dice,dice": "objectives must differ, got 'dice,dice'",
    "search --space ultralight --objective dice,iou,params,macs,flops": "a study has one to four "
    "objectives, got 5: 'dice,iou,params,macs,flops'",
    f"{SEARCH} --constraint params": "a constraint reads NAME<=NUMBER UNIT, e.g. params<=0.5M, "
    "got 'params'",
    f"{SEARCH} --constraint 'params<=500000'": "params needs a unit (k, M, G), "
    "got 'params<=500000' with no unit",
    f"{SEARCH} --constraint 'latency<=5parsec'": "latency needs a unit (us, ms, s), "
    "got 'latency<=5parsec' with unknown unit 'parsec'",
    f"{SEARCH} --constraint 'parms<=1M'": "constraint must be one of params, macs, flops, latency, "
    "memory, got 'parms'; did you mean 'params'?",
    f"{SEARCH} --constraint 'dice<=1'": "a constraint must be known before training: one of "
    "params, macs, flops, latency, memory, got 'dice'",
    f"{SEARCH} --constraint 'params<=-1M'": "the bound of a constraint must be positive, "
    "got 'params<=-1M'",
    f"{SEARCH} --size 50": "size must be a multiple of 32 for space 'ultralight', got 50; "
    "64 would do",
    f"{SEARCH} --size -32": "size must be a multiple of 32 for space 'ultralight', got -32; "
    "32 would do",
    f"{SEARCH} --size big": "invalid value for '--size': 'big' is not a valid integer; "
    "see `nas search --help`",
    f"{QUICK} --trials 0": "trials must be 1 or more, got 0",
    f"{QUICK} --epochs -2": "epochs must be 1 or more, got -2",
    f"{QUICK} --workers 0": "workers must be 1 or more, got 0",
    f"{QUICK} --device cpu --gpus-per-trial 0.5": "gpus_per_trial must be from 0 to 0, the GPUs "
    "of device 'cpu', got 0.5",
    f"{QUICK} --seed -1": "seed must be from 0 to 2147483647, got -1",
    f"{QUICK} --time 3": "invalid value for '--time': a time reads 90s, 30m, 2h or 1d, got '3'; "
    "see `nas search --help`",
    f"{QUICK} --trial-timeout 0s": "trial_timeout must be positive, got 0.0",
    f"{QUICK} --recipe fats": "recipe must be one of fast, fast-ema, brief, fast3d, ultralight, "
    "got 'fats'; "
    "did you mean 'fast'?",
    f"{QUICK} --sampler tpo": "sampler must be one of known-cost, tpe, nsga2, nsga3, gp, "
    "random, local, got 'tpo'; did you mean 'tpe'?",
    f"{QUICK} --study a/b": f"{NAME} 'a/b'",
    f"{QUICK} --study ''": f"{NAME} ''",
    f"{QUICK} --fit crop": "phantom is made at --size, so there is nothing to crop; drop --fit",
    f"{QUICK} --invert-masks": "phantom stores its lesions as 1; drop --invert-masks",
    f"{QUICK} --data nowhere": "data must be 'phantom' or a folder with images/ and masks/, "
    "got 'nowhere'",
    f"{QUICK} --data photos": "data must be a folder with images/ and masks/, HERE/photos has no "
    "images",
    f"{QUICK} --size 32 --data few": "data must hold at least 10 usable pairs, got 9 in HERE/few",
    f"{QUICK} --size 32 --data halves": "data must be free of bad files, got 2; mend them or use "
    "--skip-bad\n"
    "masks/00.png: has size 32x16, its image 32x32; make them equal\n"
    "masks/01.png: has size 32x16, its image 32x32; make them equal",
    f"{QUICK} --store photos": "photos exists and is not a store of nas; name another --store",
    f"{QUICK} --store other": "HERE/other/nas.db is not a store of nas; name another --store",
    f"{QUICK} --store newer": "store HERE/newer is of version 99, this program reads up to 1; "
    "update it",
    "search --file broken.toml": "broken.toml must be a study file in TOML, got Invalid value "
    "(at line 1, column 9)",
    "search --file unknown.toml": "a search has no setting 'trails'; did you mean 'trials'?",
    "search --file types.toml": "objectives must be a list of texts, got 'dice'",
    "search --file text.toml": "trials must be a whole number, got '3'",
    "search --file none.toml": "none.toml cannot be read: no such file or directory",
    "front demo": "no store in HERE/nas-store: `nas search` makes one, --store names another",
    "front demo --under latency=20": "latency needs a unit (us, ms, s), "
    "got 'latency=20' with no unit",
    "status photos": "no store in HERE/photos: `nas search` makes one, --store names another",
    "status other": "HERE/other/nas.db is not a store of nas; name another --store",
    "status newer": "store HERE/newer is of version 99, this program reads up to 1; update it",
    "dashboard photos": "no store in HERE/photos: `nas search` makes one, --store names another",
    "show demo one": "invalid value for 'TRIAL': 'one' is not a valid integer; "
    "see `nas show --help`",
    "export demo --out x": "missing option '--trial'; see `nas export --help`",
    "spaces ultraheavy": f"space must be one of {SPACES}, got 'ultraheavy'; "
    "did you mean 'ultralight'?",
    "baselines --space x": f"space must be one of {SPACES}, got 'x'",
    "bench --size 100": "size must be a multiple of 32 for space 'lgms', got 100; 96 would do",
    "bench --threads 0": "invalid value for '--threads': 0 is not in the range x>=1; "
    "see `nas bench --help`",
    "bench blokcs": "no such command 'blokcs'; did you mean 'blocks'?; see `nas bench --help`",
    "bench blocks --block mkri": "block must be one of BLOCKS, got 'mkri'; did you mean 'mkir'?",
    "bench blocks --repeats 1": "invalid value for '--repeats': 1 is not in the range x>=2; "
    "see `nas bench blocks --help`",
    "bench --size 64 blocks": "--size belongs to `nas bench` or behind its command; "
    "see `nas bench --help`",
    "bench --block mkir": "no such option '--block'; see `nas bench --help`",
    f"{QUICK} --runtime tflite": "invalid value for '--runtime': 'tflite' is not one of 'torch', "
    "'onnxruntime'; see `nas search --help`",
    f"{QUICK} --latency-from none.json": "none.json cannot be read: no such file or directory",
    f"{QUICK} --latency-from text.toml": "text.toml must be a file of `nas latency record`, it is "
    "not; record it anew",
    "latency calibrate --size 100": "size must be a multiple of 32 for space 'lgms', got 100; "
    "96 would do",
    "latency calibrate --space mixed3d": "latency is predicted for images, space 'mixed3d' is for "
    "volumes",
    "latency calibrate --probes photos": "probes are for runtime onnxruntime; add --runtime "
    "onnxruntime",
    "latency calibrate --runtime onnxruntime --probes photos": "photos holds no probes; "
    "`nas latency probes --out` writes them",
    "latency calibrate --runtime onnxruntime --probes photos --space unet": "spaces are those of "
    "the probes; leave --space out",
    "latency calibrate --store photos": "photos exists and is not a store of nas; name another "
    "--store",
    "latency record --out nowhere/x.json": "out must lie in a folder that exists, got "
    "'nowhere/x.json'",
    "latency probes --out photos --space unet": "probes need a new folder or their own, got "
    "photos; name another",
    "data check photos": "data must be a folder with images/ and masks/, photos has no images",
}


@pytest.mark.parametrize("command", MISUSES)
def test_a_misuse_is_one_line_and_exit_code_2_and_writes_nothing(
    mess: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(mess)
    before = listing(mess)
    result = run(command)
    expected = MISUSES[command].replace("HERE", str(mess)).replace("BLOCKS", TIMED)
    assert (result.exit_code, result.stdout) == (2, "")
    head, _, said = result.stderr.rpartition("Error: ")
    assert said == f"{expected}\n"
    assert head == "" or head.startswith(("Plan\n", "checking "))  # a search tells its plan first
    assert listing(mess) == before


def test_a_place_that_cannot_be_written_is_named(
    mess: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mess)
    result = run(f"{QUICK} --size 32 --store file/deep")
    assert result.exit_code == 2
    assert re.search(r"\nError: .*file\S* cannot be used: not a directory\n$", result.stderr)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("front dmo", "study must be one of those in HERE (demo), got 'dmo'; did you mean 'demo'?"),
        ("show demo 99", "study 'demo' has 12 trials, got trial 99"),
        ("export demo --trial 3 --out new", "only a complete trial can be exported, trial 3 is "
         "infeasible"),
        ("export demo --trial 0 --out read", "an export needs a new or empty folder, got read; "
         "name another --out"),
        ("export demo --trial 0 --out new --format onxx", "format must be one of module, onnx, "
         "got 'onxx'; did you mean 'onnx'?"),
        (f"{SEARCH} --study demo --size 32 --epochs 5 --seed 1 --constraint 'params<=0.5M'",
         "study 'demo' was made with seed=0, got seed=1; use another --study name"),
        ("search --space unet --objective dice --constraint none --study w --warm-start demo",
         "warm_start needs sampler known-cost and trainings of space 'unet', got sampler "
         "known-cost and 'demo' of space 'ultralight'"),
        (f"{QUICK} --study w --sampler tpe --warm-start demo",
         "warm_start needs sampler known-cost and trainings of space 'ultralight', got sampler tpe "
         "and 'demo' of space 'ultralight'"),
        (f"{QUICK} --study w --warm-start read/nas.db",
         "HERE/nas.db must be a file of `nas bench table`, it is not; name another file"),
    ],
)  # fmt: skip
def test_a_misuse_of_a_store_is_one_line_and_exit_code_2(
    inside: None, handle: StudyHandle, command: str, expected: str
) -> None:
    before = sorted(listing(handle.store.folder.parent))
    result = run(f"{command} --store read")
    assert (result.exit_code, result.stdout) == (2, "")
    said = expected.replace("HERE", str(handle.store.folder))
    assert result.stderr.rpartition("Error: ")[2] == f"{said}\n"
    assert sorted(listing(handle.store.folder.parent)) == before
