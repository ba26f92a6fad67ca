"""What the tools prepare_*.py share: official lists, screening of the media, manifests."""
