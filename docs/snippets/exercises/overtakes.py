from actckpt import PRESETS
from actckpt.tradeoff import attention_advantage, parity_length

config = PRESETS["llama-3.1-70b"]
r = config.n_kv_heads / config.n_heads
f = config.ffn_size / config.hidden_size
by_hand = (2 * f * (3 + 2 * r) / (1 + 3 * f) - 1 - 2 * r) * config.hidden_size
exact = parity_length(config)
assert exact, "the attention half stays ahead"
print(f"by the formula {by_hand:,.0f}, exactly {exact:,} tokens")
for seq_len in (exact // 2, exact, 2 * exact):
    ratio = attention_advantage(config, seq_len=seq_len)
    print(f"{seq_len:6,} tokens: attention half over FFN half {ratio:.2f}")
