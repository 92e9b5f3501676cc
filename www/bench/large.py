"""Writes a checkpoint with TinyLlama's shape and random weights: 1.1 B parameters, bf16, in shards.

    python large.py OUT [--shards 3] [--seed 1] [--tokenizer FOLDER]

Standard library only. The weights are pseudo-random bf16 of a bell-like distribution (the sum of four bytes), so that
quantization sees what it sees in a trained model. The tokenizer is that of FOLDER (models/stories by default) with
names for the ids that it lacks.
"""

import argparse
import json
import pathlib
import random
import shutil
import struct

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, VOCAB = 22, 2048, 5632, 32, 4, 32000
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": VOCAB,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def shapes():
    kv = HIDDEN // HEADS * KV_HEADS
    yield "lm_head.weight", (VOCAB, HIDDEN)
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        yield f"{layer}.input_layernorm.weight", (HIDDEN,)
        yield f"{layer}.mlp.down_proj.weight", (HIDDEN, INNER)
        yield f"{layer}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{layer}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{layer}.post_attention_layernorm.weight", (HIDDEN,)
        yield f"{layer}.self_attn.k_proj.weight", (kv, HIDDEN)
        yield f"{layer}.self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield f"{layer}.self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield f"{layer}.self_attn.v_proj.weight", (kv, HIDDEN)
    yield "model.norm.weight", (HIDDEN,)


def bf16(value):
    return struct.unpack("<I", struct.pack("<f", value))[0] >> 16


def weights(rng, count):
    """A block of 65,536 values, repeated from a random place each time: cheap, and different in every row."""
    values = [bf16((sum(rng.randbytes(4)) - 510) / 147.8 * 0.02) for _ in range(1 << 16)]
    block = struct.pack(f"<{len(values)}H", *values)
    while count > 0:
        start = 2 * rng.randrange(len(values))
        part = (block[start:] + block[:start])[: 2 * count]
        yield part
        count -= len(part) // 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    default = pathlib.Path(__file__).parents[2] / "models" / "stories"
    parser.add_argument("--tokenizer", type=pathlib.Path, default=default)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    tokenizer = json.loads((args.tokenizer / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    known = set(vocabulary.values()) | {token["id"] for token in tokenizer["added_tokens"]}
    vocabulary.update({f"<{i}>": i for i in range(VOCAB) if i not in known})
    (args.out / "tokenizer.json").write_text(json.dumps(tokenizer))
    shutil.copy(args.tokenizer / "tokenizer_config.json", args.out / "tokenizer_config.json")

    tensors = list(shapes())
    size = lambda shape: 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
    total = sum(size(shape) for _, shape in tensors)
    shards, filled = [[]], 0
    for name, shape in tensors:
        if filled >= total / args.shards and len(shards) < args.shards:
            shards.append([])
            filled = 0
        shards[-1].append((name, shape))
        filled += size(shape)
    weight_map = {}
    rng = random.Random(args.seed)
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        header, end = {"__metadata__": {"format": "pt"}}, 0
        for name, shape in shard:
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size(shape)]}
            end += size(shape)
            weight_map[name] = file
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(args.out / file, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for _, shape in shard:
                if len(shape) == 1:
                    out.write(struct.pack("<H", bf16(1.0)) * shape[0])
                else:
                    for part in weights(rng, shape[0] * shape[1]):
                        out.write(part)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (args.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    print(f"{args.out}: {total} bytes in {len(shards)} shards")


if __name__ == "__main__":
    main()
