"""What pages are made of: tables, figures, players, explorers, pictures."""
