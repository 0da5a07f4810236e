"""Whole models, one file each, behind the roles that generation and training speak to."""
