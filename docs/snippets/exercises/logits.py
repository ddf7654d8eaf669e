from actckpt import estimate

for model in ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"):
    for seq_len in (4096, 65_536):
        step = estimate(model, seq_len=seq_len, policy="full")
        logits = step.head.ledger["loss.log_probabilities"].bytes
        print(f"{model:14} {seq_len:6,} tokens: {logits / step.total_bytes:.2f}")
