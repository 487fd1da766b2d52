"""The card of an exported network: where it comes from, what was measured and on what."""

import dataclasses
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nas.data import Prepared
from nas.evaluation import Evaluation, Latency
from nas.recipes import find_recipe
from nas.records import Trial
from nas.settings import Study
from nas.standalone import needs
from search_spaces.core.arch import Arch

if TYPE_CHECKING:
    from nas.handle import StudyHandle

_VERSIONS = ("torch", "optuna", "ray", "onnx", "onnxruntime", "safetensors")
_MODULE = """With torch{needs}, beside `model.py` and `weights.safetensors`:

    from model import load
    net = load()
    logits = net(x)

With {library} as well: `{usage}`. {mask}
"""
_ONNX = """With ONNX Runtime:

    import onnxruntime
    session = onnxruntime.InferenceSession("model.onnx")
    logits = session.run(["logits"], {"image": x})[0]
"""
_USE = """## Use and limits

For research. It is not a medical device, and nothing here shows that it is safe or fit to
diagnose or treat. The scores hold for images like those it was trained on. They were measured on
the images that chose the network and its best epoch, so they flatter it: measure again on images
that no search has seen.
"""


def write_card(handle: "StudyHandle", trial: Trial, formats: Sequence[str]) -> str:
    """Return the text of card.md for a complete trial.

    Args:
        handle: the study.
        trial: of the study.
        formats: what is exported; the card says how to load it.
    """
    assert trial.arch is not None
    assert trial.evaluation is not None
    settings, prepared, evaluation = handle.settings, handle.prepared, trial.evaluation
    title = trial.baseline or f"network {trial.arch.key}"
    parts = [
        [f"# {title}", "", f"A segmentation network of the search space {settings.space!r}."],
        _network(trial.arch),
        _scores(evaluation, prepared, settings),
        _costs(evaluation, _input(prepared), _rig(handle, evaluation.latency)),
        _data(prepared, settings),
        _training(evaluation, settings),
        _origin(handle, trial),
        _load(trial.arch, prepared, formats),
        [_USE.strip()],
    ]
    return "\n".join(line for part in parts for line in (*part, ""))


def _network(arch: Arch) -> Iterator[str]:
    yield from ("## Network", "", "```", arch.describe(), "```", "", f"Arch key: {arch.key}")


def _scores(evaluation: Evaluation, prepared: Prepared, settings: Study) -> Iterator[str]:
    validated, kept = len(prepared.split["val"]), len(prepared.split.get("test", ()))
    part = f"validation part, {validated} {_many(prepared)}"
    where = f"{part}, epoch {evaluation.best_epoch} of {evaluation.epochs}"
    size = _input(prepared)
    how = f"windows of {size}" if settings.fit == "crop" else f"images resized to {size}"
    if prepared.spacing:
        how += f" voxels of {' x '.join(f'{s:.3g}' for s in prepared.spacing)} mm"
    yield from ("## Scores", "")
    rows = [
        ("Dice, mean of images", f"{evaluation.dice:.4f}", f"{where}; {how}"),
        ("IoU, mean of images", f"{evaluation.iou:.4f}", f"{where}; {how}"),
        *(
            (f"Dice of label {k}", f"{dice:.4f}", "the same; images without the label left out")
            for k, dice in enumerate(evaluation.dice_per_class, 1)
        ),
    ]
    yield from _table(("score", "value", "measured on"), rows)
    yield ""
    yield "The best epoch is the one with the highest Dice on these same images."
    test = f"The test part ({kept} {_many(prepared)})"
    yield f"{test} took no part in training, statistics, choices or scores;"
    yield "of a folder, its files were only checked for being usable when the study began."


def _input(prepared: Prepared) -> str:
    """Return the sides of the network's input: "128 x 128"."""
    return " x ".join([str(prepared.size)] * prepared.ndim)


def _many(prepared: Prepared) -> str:
    return "images" if prepared.ndim == 2 else "volumes"


def _costs(evaluation: Evaluation, size: str, rig: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Costs", "")
    rows = [
        ("parameters", f"{evaluation.params}", "all learned numbers"),
        (
            "multiply-adds",
            f"{evaluation.macs}",
            f"one image of {size}; convolutions and matrix products, all else counts 0",
        ),
        (
            "peak activations",
            f"{evaluation.memory_mib:.3f} MiB",
            f"one image of {size}; largest sum of live float32 maps, input included",
        ),
    ]
    latency = evaluation.latency
    if latency:
        interval = f"95 % interval of the median {latency.low_ms:.3f} to {latency.high_ms:.3f} ms"
        rule = f"median of {latency.repeats} passes of one image of {size}; {interval}"
        if latency.predicted:
            reach = f"{latency.low_ms:.3f} to {latency.high_ms:.3f} ms"
            rule = f"predicted, not measured, for one image of {size}; 90 % of predictions: {reach}"
        rows.append(("latency", f"{latency.latency_ms:.3f} ms", rule))
    yield from _table(("cost", "value", "counted how"), rows)
    if rig:
        facts = ", ".join(f"{name} {value}" for name, value in rig.items() if value is not None)
        yield from ("", f"Latency was measured on: {facts}.")


def _rig(handle: "StudyHandle", latency: Latency | None) -> Mapping[str, Any]:
    """Return the machine that measured the latency; empty without a latency."""
    return (handle.store.rig(latency.rig) or {"rig": latency.rig}) if latency else {}


def _data(prepared: Prepared, settings: Study) -> Iterator[str]:
    parts = ", ".join(f"{part} {len(stems)}" for part, stems in prepared.split.items())
    yield from ("## Data", "")
    yield f"- source: {settings.data}, fingerprint {prepared.fingerprint}"
    yield f"- {_many(prepared)}: {parts}; {len(prepared.skipped)} files left out"
    yield f"- fit: {prepared.fit}, size {prepared.size}"
    if settings.invert_masks:
        yield "- masks: the class of interest is stored as 0; it is the foreground here"


def _training(evaluation: Evaluation, settings: Study) -> Iterator[str]:
    yield from ("## Training", "")
    yield f"- recipe: {settings.recipe!r}"
    for name, value in dataclasses.asdict(find_recipe(settings.recipe)).items():
        yield f"    - {name}: {value}"
    yield f"- length: {evaluation.epochs} epochs, {evaluation.steps} steps"
    yield f"- time: {evaluation.train_seconds:.1f} s with validation, on {settings.device}"
    yield f"- seed: {evaluation.seed}"


def _origin(handle: "StudyHandle", trial: Trial) -> Iterator[str]:
    yield from ("## Origin", "")
    yield f"- study {handle.name!r}, trial {trial.number}, {trial.state}"
    yield f"- revision of the search program: {handle.revision or 'not recorded'}"
    for name, value in handle.settings.to_json().items():
        yield f"- {name}: {value}"
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    yield f"- exported with Python {platform.python_version()}, {versions}"


def _load(arch: Arch, prepared: Prepared, formats: Sequence[str]) -> Iterator[str]:
    if arch.ndim == 3:
        sides, all_sides, library = "D, H, W", "D, H and W", "nibabel"
        usage = "python model.py VOLUME.nii.gz LABELS.nii.gz"
        mask = "Windows slide over the volume as in scoring; the labels lie on its voxels."
    else:
        sides, all_sides, library = "H, W", "H and W", "Pillow"
        usage, mask = "python model.py IMAGE MASK.png", _about_masks(arch, prepared.fit)
    yield from ("## Load it", "")
    yield f"x is float32 (N, {arch.in_channels}, {sides}), prepared as preprocess.json says;"
    yield f"{all_sides} are multiples of {arch.multiple}."
    if "module" in formats:
        others = "".join(f" and {name}" for name in needs(arch))
        text = _MODULE.format(library=library, usage=usage, mask=mask, needs=others)
        yield from ("", text.strip())
    if "onnx" in formats:
        yield from ("", _ONNX.strip())


def _about_masks(arch: Arch, fit: str) -> str:
    mask = (
        "The mask marks the class of interest with 255."
        if arch.classes == 1
        else f"The mask holds labels 0 to {arch.classes - 1}."
    )
    if fit == "crop":
        mask += " The whole image runs at once; scoring slid windows over it, so masks can differ."
    return mask


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"
