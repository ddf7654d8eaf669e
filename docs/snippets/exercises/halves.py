from actckpt import PRESETS, estimate

unit = 8192 * PRESETS["llama-3.1-8b"].hidden_size
blocks = {name: estimate("llama-3.1-8b", seq_len=8192, policy=name).block for name in ("none", "attention", "ffn")}
for name in ("attention", "ffn"):
    gone = [term.name for term in blocks["none"] if term.name not in {left.name for left in blocks[name]}]
    saved = (blocks["none"].bytes - blocks[name].bytes) / unit
    print(f"{name}: {saved:.2f} bytes for each SBH, from {', '.join(gone)}")
