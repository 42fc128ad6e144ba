"""What `tools/gpu_check.py` is made of: networks of real sizes with random weights, what is drawn with them, and its report."""
