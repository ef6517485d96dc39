"""How good reconstructed surfaces are."""
