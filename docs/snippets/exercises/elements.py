import actckpt

config = actckpt.PRESETS["gpt-22b"]
block = actckpt.estimate(config, seq_len=1, accounting="paper").block
linear = [term for term in block if len(term.shape) == 3]
for dtype, width in (("bfloat16", 2), ("bool", 1)):
    elements = sum(term.bytes for term in linear if term.dtype == dtype) // width
    print(f"{dtype:8}: {elements // config.hidden_size:2} elements of {width} bytes for each SBH")
