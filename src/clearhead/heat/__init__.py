"""Where the evidence lies: class activation maps and explanations."""
