"""What was measured for this model and card: speeds out of results files, memory out of our build's llama-fit-params."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from art_local.plan.cards import Card
from art_local.plan.memory import Model, Setting
from art_local.plan.placement import Placement
from art_local.plan.roofline import MODES, Calibration, calibrate, parts

MIB = 1 << 20


def calibrations(files: list[Path], model: Model, card: Card, host: Card, placement: Placement, kv_type: str) -> dict[str, Calibration]:
    """Factors by mode, from runs of this model with this KV type on a card of this name."""
    from art_local.bench.results import read

    points: dict[str, list[tuple[float, float, float]]] = {mode: [] for mode in MODES}
    for line in (line for file in files for line in read(file)):
        point = measured_point(line.record, card, model, kv_type)
        mode = {"off": "stock"}.get(str(line.get("configuration", "mode") or "off"), str(line.get("configuration", "mode")))
        if line.kind == "run" and point and mode in points:
            depth, seconds = point
            points[mode].append((*parts(model, card, host, placement, mode, depth, kv_type), seconds))
    return {mode: calibrate(found) for mode, found in points.items() if found}


def measured_point(record: dict[str, Any], card: Card, model: Model, kv_type: str) -> tuple[int, float] | None:
    """Depth and seconds a token of a llama-bench record, if it is of this card, model and KV type, and of decoding."""
    words = card.name.lower().split()
    on_card = all(word in str(record.get("gpu_info", "")).lower().split() for word in words)
    speed, size, generated = record.get("avg_ts"), record.get("model_size"), record.get("n_gen")
    if not on_card or not isinstance(speed, float | int) or not isinstance(size, int) or not generated or record.get("n_prompt"):
        return None
    if speed <= 0 or abs(size - model.header.weight_bytes) > 0.01 * size or {record.get("type_k"), record.get("type_v")} != {kv_type}:
        return None
    # the context grows while it is measured: its mean depth is what the time belongs to
    return int(record.get("n_depth") or 0) + int(generated) // 2, 1 / float(speed)


def fit_params(program: Path, model: Path, setting: Setting) -> dict[str, dict[str, int]] | None:
    """Bytes by device and part as our build would allocate them; None if it cannot say."""
    command = [str(program), "-m", str(model), "-fitp", "on", "-c", str(setting.context), "-fa", "on", "-ub", str(setting.ubatch)]
    command += ["-ctk", setting.kv_type, "-ctv", setting.kv_type, "-np", str(setting.parallel)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_fit(done.stdout) if done.returncode == 0 else None


def parse_fit(text: str) -> dict[str, dict[str, int]] | None:
    """Lines of: device, model, context, compute (MiB)."""
    found = {}
    for line in text.splitlines():
        name, *numbers = line.split() or [""]
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            found[name] = {part: int(number) * MIB for part, number in zip(("weights", "kv", "compute"), numbers, strict=True)}
    return found or None
