"""What a reader gets: figures and the run page."""
