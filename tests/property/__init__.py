"""Properties: random page tables, and the sentences of the contract that must hold on all of them."""
