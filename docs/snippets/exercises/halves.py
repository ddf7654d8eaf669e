from actckpt import PRESETS, estimate

MODEL, SEQ_LEN = "llama-3.1-8b", 8192
none = estimate(MODEL, seq_len=SEQ_LEN).block
for half in ("attention", "ffn"):
    block = estimate(MODEL, seq_len=SEQ_LEN, policy=half).block
    saved = (none.bytes - block.bytes) / (SEQ_LEN * PRESETS[MODEL].hidden_size)
    print(f"{half}: {saved:.2f} bytes for each SBH, without")
    left = {term.name for term in block}
    print(f"    {', '.join(term.name for term in none if term.name not in left)}")
