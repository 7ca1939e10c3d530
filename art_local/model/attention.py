"""What each layer keeps per token, and whether early termination applies to it.

Follows llama.cpp's own rules (load_arch_hparams and create_memory), for the architectures listed here. Estimators that guess
were off by 2 to 40 times on models with sliding windows, recurrent layers or latent attention: any other architecture gets no number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from art_local.errors import UserError
from art_local.model.header import Header, LongArray, Value
from art_local.model.types import TYPE_BY_NAME

KV_TYPES = ("f16", "q8_0", "q4_0")
HEAD_SIZES = range(64, 257, 32)  # sizes that the kernels take
MAX_GROUP = 16
MAX_LAYERS = 4096

# one cache, every layer alike or as the head_count_kv array says
PLAIN = set(
    "llama deci falcon starcoder starcoder2 stablelm qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe phi2 phi3 phimoe "
    "orion internlm2 minicpm gemma xverse command-r dbrx olmo olmoe arctic deepseek chatglm glm4 glm4moe nemotron exaone granite "
    "granitemoe dots1 arcee ernie4_5 ernie4_5-moe hunyuan-moe hunyuan-dense smollm3 seed_oss grovemoe apertus minimax-m2 mistral3".split()
)
# period of the sliding-window pattern (the last of each period is full) and the window, where the file does not say
WINDOWED = {
    "gemma2": (2, 4096),
    "gemma3": (6, 0),
    "gpt-oss": (2, 0),
    "cohere2": (4, 0),
    "olmo2": (4, 0),
    "gemma3n": (5, 0),
    "gemma4": (0, 0),
}
ALIBI = {"bloom", "mpt", "refact"}
INTERVAL = {"qwen3next", "qwen35", "qwen35moe"}  # every n-th layer attends, the others are recurrent
ZERO_HEADS = {"jamba", "granitehybrid", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe"}  # no KV heads: recurrent
RECURRENT = {"mamba", "mamba2"}
LATENT = {"deepseek2"}
KNOWN = PLAIN | set(WINDOWED) | ALIBI | INTERVAL | ZERO_HEADS | RECURRENT | LATENT | {"falcon-h1"}


@dataclass(frozen=True)
class Layer:
    index: int
    kind: str  # full, sliding, latent, recurrent, both, shared, none
    heads: int = 0
    kv_heads: int = 0
    k_size: int = 0
    v_size: int = 0
    window: int = 0
    reason: str = ""  # why early termination does not apply; empty where it does

    @property
    def art(self) -> bool:
        return not self.reason

    @property
    def recurrent(self) -> bool:
        return self.kind in ("recurrent", "both")

    def bytes_per_cell(self, k_type: str, v_type: str) -> int:
        k, v = TYPE_BY_NAME[k_type], TYPE_BY_NAME[v_type]
        return k.row_bytes(self.kv_heads * self.k_size) + v.row_bytes(self.kv_heads * self.v_size)


@dataclass
class Attention:
    architecture: str
    layers: list[Layer] = field(default_factory=list)
    layer_state: int = 0  # bytes of one recurrent layer's state, for one sequence
    unknown: str = ""  # why there are no numbers

    @property
    def state_bytes(self) -> int:
        return self.layer_state * sum(layer.recurrent for layer in self.layers)

    def kv_bytes_per_token(self, kv_type: str) -> int:
        """Growth a token while the context is shorter than any window."""
        return sum(layer.bytes_per_cell(kv_type, kv_type) for layer in self.layers)

    def growing_bytes_per_token(self, kv_type: str) -> int:
        """Growth a token once the windows are full."""
        return sum(layer.bytes_per_cell(kv_type, kv_type) for layer in self.layers if not layer.window)


class Keys:
    """Metadata under the architecture's prefix, with types and ranges checked."""

    def __init__(self, header: Header) -> None:
        self.metadata = header.metadata
        self.name = header.parts[0] if header.parts else "the model"
        self.architecture = str(self.metadata.get("general.architecture", ""))[:64]

    def raw(self, key: str) -> Value | None:
        return self.metadata.get(f"{self.architecture}.{key}")

    def number(self, key: str, default: int | None = None, most: int = 1 << 24) -> int:
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if value is None:
            raise UserError(f"{self.name}: the metadata has no {self.architecture}.{key}.")
        return self.checked(key, value, most)

    def checked(self, key: str, value: object, most: int) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or not 0 <= value <= most:
            raise UserError(f"{self.name}: {self.architecture}.{key} is {value!r}, which makes no sense.")
        return int(value)

    def per_layer(self, key: str, layers: int, default: list[int] | None = None) -> list[int]:
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if isinstance(value, LongArray) or (isinstance(value, list) and len(value) < layers):
            raise UserError(f"{self.name}: {self.architecture}.{key} does not have one value for each of the {layers} layers.")
        if isinstance(value, list):
            return [self.checked(key, one, 1 << 16) for one in value[:layers]]
        return [self.number(key, most=1 << 16)] * layers


def attention(header: Header) -> Attention:
    keys = Keys(header)
    architecture = keys.architecture
    if not architecture:
        return Attention("", unknown="the file does not name its architecture")
    if architecture not in KNOWN:
        return Attention(architecture, unknown=f"the architecture '{architecture}' is not one whose cache this version knows")
    count = keys.number("block_count", most=MAX_LAYERS) - keys.number("nextn_predict_layers", 0, MAX_LAYERS)
    if count < 1:
        raise UserError(f"{keys.name}: the metadata gives it {count} layers.")
    kinds = layer_kinds(keys, count)
    layers = [one_layer(keys, index, kind, count) for index, kind in enumerate(kinds)]
    return Attention(architecture, layers, state_bytes(keys) if any(layer.recurrent for layer in layers) else 0)


def layer_kinds(keys: Keys, count: int) -> list[str]:
    architecture = keys.architecture
    if architecture in RECURRENT:
        return ["recurrent"] * count
    if architecture == "falcon-h1":
        return ["both"] * count
    heads = keys.per_layer("attention.head_count_kv", count, keys.per_layer("attention.head_count", count))
    if architecture in INTERVAL:
        every = keys.number("full_attention_interval", 4)
        marked = keys.per_layer("attention.recurrent_layers", count, [int((i + 1) % max(every, 1) != 0) for i in range(count)])
        return ["recurrent" if mark else "full" for mark in marked]
    if architecture in ZERO_HEADS:
        widths = keys.per_layer("feed_forward_length", count, [0] * count)
        wide = architecture.startswith("nemotron")  # there a layer is attention, recurrent or feed-forward only
        return ["none" if wide and widths[i] else "full" if heads[i] else "recurrent" for i in range(count)]
    if architecture in WINDOWED:
        return windowed_kinds(keys, count)
    if architecture in LATENT and keys.raw("attention.key_length_mla") is not None:
        return ["latent"] * count
    return ["full" if heads[i] else "none" for i in range(count)]


def windowed_kinds(keys: Keys, count: int) -> list[str]:
    period, window = WINDOWED[keys.architecture]
    if not keys.number("attention.sliding_window", window):
        return ["full"] * count
    pattern = keys.raw("attention.sliding_window_pattern")
    if isinstance(pattern, list):
        sliding = [bool(mark) for mark in keys.per_layer("attention.sliding_window_pattern", count)]
    elif keys.architecture == "gemma4":
        raise UserError(f"{keys.name}: the metadata does not say which layers have a sliding window.")
    else:
        period = keys.number("attention.sliding_window_pattern", period)
        sliding = [period == 0 or i % period < period - 1 for i in range(count)]
    own = count
    if keys.architecture == "gemma3n":
        own = 20
    if keys.architecture == "gemma4":
        own = count - keys.number("attention.shared_kv_layers", 0)
    return ["shared" if i >= own else "sliding" if sliding[i] else "full" for i in range(count)]


def one_layer(keys: Keys, index: int, kind: str, count: int) -> Layer:
    if kind == "none":
        return Layer(index, kind, reason="no attention")
    if kind == "recurrent":
        return Layer(index, kind, reason="recurrent: a state of fixed size, no cache")
    every = keys.per_layer("attention.head_count", count)
    heads = every[index]
    kv_heads = keys.per_layer("attention.head_count_kv", count, every)[index]
    if kind == "shared":
        return Layer(index, kind, heads, 0, 0, 0, reason="reads another layer's cache")
    usual = keys.number("embedding_length") // max(every[0], 1)
    k_size = keys.number("attention.key_length", usual, 8192)
    v_size = keys.number("attention.value_length", usual, 8192)
    window = 0
    if kind == "sliding":
        k_size = keys.number("attention.key_length_swa", k_size, 8192)
        v_size = keys.number("attention.value_length_swa", v_size, 8192)
        window = keys.number("attention.sliding_window", WINDOWED[keys.architecture][1])
    if kind == "latent":
        v_size = 0  # V is a part of K's row
    if not heads or not kv_heads or not k_size:
        raise UserError(f"{keys.name}: layer {index} has {heads} heads, {kv_heads} KV heads of size {k_size}, which makes no sense.")
    layer = Layer(index, kind, heads, kv_heads, k_size, v_size, window)
    return Layer(index, kind, heads, kv_heads, k_size, v_size, window, why_not(keys, layer))


def why_not(keys: Keys, layer: Layer) -> str:
    """The same questions, in the same order, as ggml_art_applies; a backend may decline more."""
    if layer.kind == "sliding":
        return f"sliding window of {layer.window} tokens: little to skip"
    if layer.kind == "latent":
        return "latent attention (MLA)"
    if keys.architecture in ALIBI or keys.raw("attention.max_alibi_bias"):
        return "ALiBi"
    if layer.k_size != layer.v_size:
        return f"K and V heads of different size ({layer.k_size} and {layer.v_size})"
    if layer.k_size not in HEAD_SIZES:
        return f"head size {layer.k_size}, the kernels take multiples of 32 from 64 to 256"
    if layer.heads % layer.kv_heads or layer.heads // layer.kv_heads > MAX_GROUP:
        return f"{layer.heads} heads on {layer.kv_heads} KV heads, groups of up to {MAX_GROUP} are taken"
    return ""


def state_bytes(keys: Keys) -> int:
    """Recurrent state of a layer and sequence, f32 (llama_hparams::n_embd_r and n_embd_s)."""
    if keys.raw("shortconv.l_cache") is not None:
        return 4 * keys.number("embedding_length") * (keys.number("shortconv.l_cache") - 1)
    inner, state = keys.number("ssm.inner_size"), keys.number("ssm.state_size")
    convolution = max(keys.number("ssm.conv_kernel") - 1, 0) * (inner + 2 * keys.number("ssm.group_count", 0) * state)
    return 4 * (convolution + inner * state)
