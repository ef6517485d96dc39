"""What several tasks draw with: palettes, fonts, contact sheets and matplotlib figures."""
