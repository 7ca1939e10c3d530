"""art-local inspect: what a model is made of, and where early termination applies, from the header alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from art_local.quantity import size

if TYPE_CHECKING:
    from art_local.model.attention import Attention
    from art_local.model.header import Header


def inspect(
    model: Annotated[str | None, typer.Argument(help="A .gguf file (any part of a split one), or a shape such as llama-3.1-8b.")] = None,
    hf: Annotated[str | None, typer.Option("--hf", "-hf", help="user/model:quant; only the header is fetched.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show architecture, quantization, attention by layer, KV bytes a token, and whether early termination applies.

    Example: art-local inspect model.gguf
    """
    import json as jsonlib

    from art_local.model.attention import attention
    from art_local.model.locate import load

    header = load(model, hf)
    found = attention(header)
    facts = as_dict(header, found)
    if json:
        print(jsonlib.dumps(facts, indent=2, default=str))
    else:
        show(facts, found)


def as_dict(header: Header, found: Attention) -> dict[str, Any]:
    from dataclasses import asdict

    from art_local.model.attention import KV_TYPES
    from art_local.model.types import FILE_TYPES

    metadata, architecture = header.metadata, found.architecture
    number = metadata.get("general.file_type")
    template = metadata.get("tokenizer.chat_template")
    known = not found.unknown
    return {
        "name": plain(metadata.get("general.name")),
        "architecture": architecture,
        "parameters": header.parameters,
        "weight_bytes": header.weight_bytes,
        "file_type": FILE_TYPES.get(number) if isinstance(number, int) else None,
        "quantization": mix(header),
        "shape": not header.header_bytes,
        "parts": header.parts,
        "file_bytes": header.file_bytes,
        "chat_template": len(template) if isinstance(template, str) else None,
        "trained_context": plain(metadata.get(f"{architecture}.context_length")),
        "rope": {key.split(".rope.")[1]: plain(value) for key, value in metadata.items() if key.startswith(f"{architecture}.rope.")},
        "kv_bytes_per_token": {kind: found.kv_bytes_per_token(kind) for kind in KV_TYPES} if known else None,
        "kv_bytes_per_token_past_windows": {kind: found.growing_bytes_per_token(kind) for kind in KV_TYPES} if known else None,
        "state_bytes": found.state_bytes if known else None,
        "unknown": found.unknown or None,
        "layers": [{**asdict(layer), "art": layer.art} for layer in found.layers],
    }


def plain(value: object) -> object:
    """JSON knows no NaN and no infinity; a damaged file may hold them."""
    return None if isinstance(value, float) and value - value != 0 else value


def mix(header: Header) -> dict[str, dict[str, int]]:
    """Tensors and bytes by type, the largest share first."""
    types: dict[str, dict[str, int]] = {}
    for tensor in header.tensors:
        row = types.setdefault(tensor.type.name, {"tensors": 0, "bytes": 0})
        row["tensors"] += 1
        row["bytes"] += tensor.bytes
    return dict(sorted(types.items(), key=lambda item: -item[1]["bytes"]))


def share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if 200 * part >= whole > 0 else "under 1%"


def show(facts: dict[str, Any], found: Attention) -> None:
    from art_local.cli.console import console

    out = console()

    def line(label: str, text: object) -> None:
        out.paragraph(f"{label:<16} {clean(text)}", hang=17)

    line("model", facts["name"] or "no name")
    line("architecture", facts["architecture"] or "not named")
    line("parameters", f"{facts['parameters'] / 1e9:.2f} billion")
    bits = 8 * facts["weight_bytes"] / max(facts["parameters"], 1)
    types = ", ".join(f"{kind} {share(row['bytes'], facts['weight_bytes'])}" for kind, row in facts["quantization"].items())
    line("quantization", f"{facts['file_type'] or 'not named'}, {size(facts['weight_bytes'])}, {bits:.2f} bits a weight: {types}")
    if facts["shape"]:
        line("files", f"none: {facts['parts'][0]} is a shape that comes with art-local, without weights, vocabulary and chat template")
    else:
        line("files", f"{len(facts['parts'])}: {facts['parts'][0]}" + (" ..." if len(facts["parts"]) > 1 else ""))
        line("chat template", f"{facts['chat_template']} characters" if facts["chat_template"] else "none")
    line("trained context", facts["trained_context"] or "not named")
    line("rope", ", ".join(f"{key} {value}" for key, value in facts["rope"].items()) or "none")
    if found.unknown:
        line("KV cache", f"no number: {found.unknown}")
        line("ART", "unknown")
        return
    for label, key in (("KV a token", "kv_bytes_per_token"), ("windows full", "kv_bytes_per_token_past_windows")):
        if label == "KV a token" or any(layer.window for layer in found.layers):
            line(label, ", ".join(f"{kind} {count} bytes" for kind, count in facts[key].items()))
    if found.state_bytes:
        line("recurrent state", f"{size(found.state_bytes)} a sequence")
    out.print()
    for text, layers in alike(found).items():
        line(f"{len(layers)} layer{'s' * (len(layers) > 1)}", f"{ranges(layers)}: {text}")
    taken = sum(layer.art for layer in found.layers)
    line("ART", f"applies to {taken} of {len(found.layers)} layers")


def alike(found: Attention) -> dict[str, list[int]]:
    """Layers by what is to be said of them."""
    kinds: dict[str, list[int]] = {}
    for layer in found.layers:
        size = str(layer.k_size) if layer.k_size == layer.v_size else f"{layer.k_size}/{layer.v_size}"
        heads = f"{layer.heads} heads on {layer.kv_heads} KV heads of {size}, " if layer.kv_heads else ""
        kinds.setdefault(f"{layer.kind}: {heads}" + ("ART applies" if layer.art else f"no ART: {layer.reason}"), []).append(layer.index)
    return kinds


def ranges(layers: list[int]) -> str:
    """0-4, 6-10, 12-16 ... 60-61"""
    found: list[list[int]] = []
    for layer in layers:
        if found and layer == found[-1][1] + 1:
            found[-1][1] = layer
        else:
            found.append([layer, layer])
    names = [str(first) if first == last else f"{first}-{last}" for first, last in found]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} ... {names[-1]}"


def clean(text: object) -> str:
    """Names come from the file: no control characters reach the terminal."""
    return "".join(one if one.isprintable() else "?" for one in str(text))[:400]
