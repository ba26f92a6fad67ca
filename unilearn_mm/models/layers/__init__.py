"""Plain torch layers: no registry, no config."""
