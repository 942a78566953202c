"""What a data set or a run is worth believing: findings, with the figures that show them."""
