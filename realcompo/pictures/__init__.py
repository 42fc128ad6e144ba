"""What a run gives back: pictures with their recipe, traces, overlays and charts."""
