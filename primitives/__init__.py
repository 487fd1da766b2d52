"""Blocks of the papers, one file per paper or family; imports torch alone."""
