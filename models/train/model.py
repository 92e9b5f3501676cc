"""A Llama over one flat stream of packed stories, and the optimizer that trains it.

Parameter names and the half-split rotary order are those of `LlamaForCausalLM`, so a state dict is a
Hugging Face checkpoint as it stands. Axes: N tokens of a batch, all stories laid end to end; H heads; D
the head's width. A batch carries `bounds`, the places where stories begin, and no token sees another story.
"""

import dataclasses
import json
import pathlib

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class Shape:
    hidden: int = 384
    layers: int = 8
    heads: int = 6
    kv_heads: int = 2
    inner: int = 1024
    vocab: int = 4096
    context: int = 512
    theta: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    def config(self) -> dict:
        """`config.json`, with the keys that readers of every age know."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.context,
            "rms_norm_eps": self.eps,
            "rope_theta": self.theta,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "bos_token_id": 0,
            "eos_token_id": 0,
        }


@dataclasses.dataclass
class Batch:
    """N tokens: `ids`, what follows each (`next`), its place in its story, and where stories begin."""

    ids: torch.Tensor
    next: torch.Tensor
    place: torch.Tensor
    bounds: torch.Tensor  # int32, ends with N repeated to a fixed length
    longest: int


def story_attention(q, k, v, bounds, longest):
    """Causal attention inside each story; q [N, H, D], k and v [N, KV, D]."""
    if q.is_cuda:
        out = torch.ops.aten._flash_attention_forward(
            q, k, v, bounds, bounds, longest, longest, 0.0, True, False
        )
        return out[0]
    n = torch.arange(q.shape[0])
    story = torch.searchsorted(bounds.long(), n, right=True)
    mask = (story[:, None] == story[None]) & (n[:, None] >= n[None])
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)[0].transpose(0, 1)


def rotate(x, cos, sin):
    """Rotary embedding of x [N, H, D]; cos and sin are [N, 1, D]."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Attention(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.d = s.head_dim
        self.q_proj = nn.Linear(s.hidden, s.heads * self.d, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * self.d, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * self.d, bias=False)
        self.o_proj = nn.Linear(s.heads * self.d, s.hidden, bias=False)

    def forward(self, x, cos, sin, bounds, longest):
        q, k, v = (p(x).view(x.shape[0], -1, self.d) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        return self.o_proj(story_attention(q, k, v, bounds, longest).flatten(1))


class MLP(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.down_proj = nn.Linear(s.inner, s.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class RMSNorm(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(s.hidden))
        self.eps = s.eps

    def forward(self, x):
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class Layer(nn.Module):
    def __init__(self, s: Shape, dropout: float):
        super().__init__()
        self.input_layernorm = RMSNorm(s)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = RMSNorm(s)
        self.mlp = MLP(s)
        self.dropout = dropout

    def forward(self, x, cos, sin, bounds, longest):
        y = self.self_attn(self.input_layernorm(x), cos, sin, bounds, longest)
        x = x + F.dropout(y, self.dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), self.dropout, self.training)


class Llama(nn.Module):
    def __init__(self, shape: Shape, dropout: float = 0.0):
        super().__init__()
        self.shape = shape
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.model.layers = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))
        self.model.norm = RMSNorm(shape)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                out = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / (2 * shape.layers) ** 0.5 if out else 0.02)
        angle = shape.theta ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        angle = torch.outer(torch.arange(shape.context), angle).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, batch: Batch):
        """Hidden states [N, hidden] after the last norm, in float32."""
        x = self.model.embed_tokens(batch.ids)
        cos, sin = self.cos[batch.place][:, None], self.sin[batch.place][:, None]
        for layer in self.model.layers:
            x = layer(x, cos, sin, batch.bounds, batch.longest)
        return self.model.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.model.embed_tokens.weight).float()


def save(model: Llama, folder: pathlib.Path, dtype=torch.bfloat16, state=None) -> None:
    """Write `model.safetensors` and `config.json`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in (state or model.state_dict()).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.shape.config(), indent=2) + "\n")


def load(folder: pathlib.Path, dropout: float = 0.0) -> Llama:
    """Read what `save` wrote, as float32."""
    from safetensors.torch import load_file

    c = json.loads((folder / "config.json").read_text())
    shape = Shape(
        c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"], c["num_key_value_heads"],
        c["intermediate_size"], c["vocab_size"], c["max_position_embeddings"], c["rope_theta"], c["rms_norm_eps"],
    )
    model = Llama(shape, dropout)
    state = load_file(folder / "model.safetensors")
    state.pop("lm_head.weight", None)
    model.load_state_dict({k: v.float() for k, v in state.items()})
    return model


def orthogonal(g):
    """The nearest matrix with singular values near one, for a stack g [S, R, C]: five Newton-Schulz
    steps with the coefficients of Jordan et al., Muon (2024)."""
    x = g.bfloat16()
    if g.shape[-2] > g.shape[-1]:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if g.shape[-2] > g.shape[-1] else x


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal, with decoupled weight decay; matrices only."""

    def __init__(self, params, lr=0.02, weight_decay=0.1, momentum=0.95):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                by_shape.setdefault(p.shape, []).append(p)
            for shape, ps in by_shape.items():
                grads = [p.grad for p in ps]
                bufs = [self.state[p].setdefault("m", torch.zeros_like(p)) for p in ps]
                torch._foreach_lerp_(bufs, grads, 1 - group["momentum"])
                step = torch._foreach_lerp(grads, bufs, group["momentum"])
                step = orthogonal(torch.stack(step)).float()
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                torch._foreach_mul_(ps, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(ps, list(step.unbind()), alpha=-group["lr"] * scale)
