"""What `holter top` sees and shows: looks from outside, the figures in words, the screen, the live view."""
