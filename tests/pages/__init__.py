"""The example pages in a browser."""
