from actckpt import estimate

for seq_len in (4096, 16_384):
    block = estimate("llama-3.1-8b", seq_len=seq_len, attention="eager").block
    print(f"{seq_len:6,} tokens: {block['attention.probabilities'].bytes / 2**30:4.0f} GiB")
