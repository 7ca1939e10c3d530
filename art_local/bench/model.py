"""The model to bench: a file on this machine, read by its header before llama.cpp is started on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art_local.bench.download import fetch
from art_local.bench.identity import model_hash
from art_local.errors import UserError
from art_local.model import attention, hub, shape
from art_local.model.header import Header
from art_local.model.locate import load_file


@dataclass(frozen=True)
class Model:
    path: Path  # of a model in parts, the first
    header: Header

    @property
    def files(self) -> list[Path]:
        return [Path(name) for name in self.header.parts]

    def facts(self, say: Callable[[str], Any]) -> dict[str, Any]:
        """What a results file keeps about it. KV bytes are those that grow with the context, per token."""
        architecture = str(self.header.metadata.get("general.architecture", ""))
        trained = self.header.metadata.get(f"{architecture}.context_length")
        return {
            "name": self.path.name,
            "sha256": model_hash(self.files, say),
            "bytes": sum(file.stat().st_size for file in self.files),
            "architecture": architecture,
            "trained_context": trained if isinstance(trained, int) else None,
            "kv_bytes_per_token": self.growth(),
        }

    def growth(self) -> dict[str, int] | None:
        """None is unknown: an odd header is llama.cpp's to refuse, not ours."""
        try:
            known = attention.attention(self.header)
        except UserError:
            return None
        return None if known.unknown else {kv: known.growing_bytes_per_token(kv) for kv in attention.KV_TYPES}


def resolve(name: str | Path | None, hf: str | None = None, say: Callable[[str], Any] = print) -> Model:
    """A file, or a Hugging Face name where there is no such file."""
    path = Path(name or "").expanduser()
    if hf is None and hub.NAME.fullmatch(str(name)) and path.suffix != ".gguf" and not path.exists() and not path.parent.exists():
        hf = str(name)
    if hf is not None:
        path = fetch(hf, say)
    elif not path.exists() and shape.find(str(name)):
        raise UserError(f"{name} is a shape, without weights: it can be inspected and planned, not run.")
    header = load_file(path)
    if not header.tensors:
        raise UserError(f"{path}: a GGUF file without tensors is no model.")
    return Model(Path(header.parts[0]), header)
