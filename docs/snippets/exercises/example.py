from actckpt.formulas.flops import workshop_overheads

for attention, ffn in ((100, 300), (300, 100), (1, 1)):
    overheads = workshop_overheads(attention, ffn)
    print(f"{attention}:{ffn}", {name: f"{float(share):.1%}" for name, share in overheads.items()})
