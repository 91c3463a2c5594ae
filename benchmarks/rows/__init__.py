"""The rows. Each module has `ROW`, its name, and `measure(options)`, its figures."""
