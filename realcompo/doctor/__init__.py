"""What is on this machine, and what can be drawn with it: `realcompo doctor`. Only headers and configs of checkpoints are read."""
