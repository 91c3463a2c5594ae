"""People who answer, many at once: what rows about the page and the label store share."""
