"""What happens around the steps: hooks and optimizer rules."""
